"""The differences between OCI runtimes in `exec`, and the choice of a strategy for a runtime."""

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
    """How a runtime is started with a terminal, notified of its size, and waited for."""

    async def open_terminal(self, child: ExecChild) -> int:
        """Start the prepared child with a terminal; returns the descriptor of its master, which the caller closes."""

    def resized(self, child: ExecChild) -> None:
        """Call after the terminal's size has changed."""

    async def wait(self, child: ExecChild, outputs: Sequence[ReadEnd]) -> int:
        """Wait until the command has exited; returns its status, for ExecChild.exit_code()."""


async def choose(runtime: Path) -> Strategy:
    """The strategy for a runtime, by its --version: CrunExec for crun, RuncExec for all others."""
    if runtime not in _chosen:
        done = await programs.run([runtime, "--version"], timeout=10, check=False)
        _chosen[runtime] = CrunExec() if done.stdout.startswith(b"crun ") else RuncExec()
    return _chosen[runtime]
