"""What OCI runtimes do differently in `exec`, and which of the two ways a runtime program has."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from crishim.engine.exec.child import ExecChild
from crishim.engine.exec.crun import CrunExec
from crishim.engine.exec.runc import RuncExec
from crishim.linux import programs
from crishim.linux.pipes import ReadEnd

_chosen: dict[Path, "Strategy"] = {}


class Strategy(Protocol):
    """How one kind of runtime is started with a terminal, told of its size, and waited for."""

    async def open_terminal(self, child: ExecChild) -> int:
        """Start the prepared child with a terminal; a descriptor of its master, which the caller then owns."""

    def resized(self, child: ExecChild) -> None:
        """The size of the master has changed."""

    async def wait(self, child: ExecChild, outputs: Sequence[ReadEnd]) -> int:
        """Wait for the end of the command; its exit status, for ExecChild.exit_code()."""


async def choose(runtime: Path) -> Strategy:
    """The strategy of a runtime program, by what --version prints. Only crun is known to be like crun."""
    if runtime not in _chosen:
        done = await programs.run([runtime, "--version"], timeout=10, check=False)
        _chosen[runtime] = CrunExec() if done.stdout.startswith(b"crun ") else RuncExec()
    return _chosen[runtime]
