"""`runc exec`: it copies between the command and its own stdio, and exits once no process holds its pipes any more.

With a terminal it copies between the container's and the one on its own stdio. So it gets one of ours, in raw mode, and
SIGWINCH when its size changes.

A command that leaves a background process behind, which keeps its stdout open, would keep its session open until that
process exits; containerd and CRI-O do wait. Here the session ends when the command has exited and its output has been
idle for IDLE_TIMEOUT. The exit code, which runc returns only at its own exit, then comes from the kernel (pidfds.py,
since Linux 6.15). That needs a pidfd opened before the command exits. The pid file is written only after the command
has started, and a short command may have exited by then. So pidfds of all children of runc are opened while it starts
the command, and the pid file selects one of them.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from crishim.engine.exec.child import ExecChild
from crishim.errors import CrishimError, Kind
from crishim.linux import executors, pidfds, process_trees, terminals
from crishim.linux.pipes import ReadEnd

IDLE_TIMEOUT = 0.5  # seconds of idle output after the command's exit until the session ends
IDLE_TIMEOUT_UNKNOWN = 10.0  # the same without an exit code: on older kernels, or if the command was too short
_POLL = (0.002, 0.008)  # seconds between polls of the runtime's children, the first and the longest
_IDLE_POLL = 0.05  # seconds between polls of the output


class RuncExec:
    """The strategy for runc, and for any runtime but crun; see strategy.py."""

    async def open_terminal(self, child: ExecChild) -> int:
        master, slave = terminals.open_raw_pair()
        try:
            await child.spawn((slave, slave, slave), "--tty")
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        return master

    def resized(self, child: ExecChild) -> None:
        child.send_signal(signal.SIGWINCH)

    async def wait(self, child: ExecChild, outputs: Sequence[ReadEnd]) -> int:
        """Raises INTERNAL if the command has exited, its output is still open, and its exit code is not known."""
        exited = asyncio.create_task(child.wait())
        try:
            with _Children(child.pid) as children:
                command = await _find_command(children, child.pid_file, exited)
                await _wait_ended(command, exited)
                status = exited.result() if exited.done() else await _wait_idle(command, exited, outputs)
        finally:
            exited.cancel()
        await child.kill_runtime()  # it still waits for a background process
        return status


class _Children:
    """Pidfds of a process's children, opened by each open_new()."""

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self._pidfds: dict[int, int] = {}

    def open_new(self) -> None:
        for pid in process_trees.children(self._parent) - self._pidfds.keys():
            with contextlib.suppress(ProcessLookupError):
                self._pidfds[pid] = os.pidfd_open(pid)

    def get(self, pid: int) -> int | None:
        return self._pidfds.get(pid)

    def __enter__(self) -> "_Children":
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._pidfds.values():
            os.close(fd)


async def _find_command(children: _Children, pid_file: Path, exited: asyncio.Task[int]) -> int | None:
    """The command's pidfd; None if the runtime has exited, or the command exited before its pidfd was opened."""

    def look() -> int | None:
        """The command's pid once it has started; read before open_new(), which then includes a running command."""
        try:
            begun = int(pid_file.read_text() or 0)
        except FileNotFoundError:
            begun = None
        children.open_new()
        return begun

    for pause in _pauses():
        pid = await executors.processes(look)
        if pid is not None or exited.done():
            return children.get(pid) if pid is not None else None
        await asyncio.wait([exited], timeout=pause)
    return None


def _pauses() -> Iterator[float]:
    pause, longest = _POLL
    while True:
        yield pause
        pause = min(1.3 * pause, longest)


async def _wait_ended(command: int | None, exited: asyncio.Task[int]) -> None:
    """Wait until the command or the runtime has exited."""
    if command is None:
        return
    with pidfds.watched(command) as ended:
        either: list[asyncio.Future[Any]] = [exited, ended]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)


async def _wait_idle(command: int | None, exited: asyncio.Task[int], outputs: Sequence[ReadEnd]) -> int:
    """After the command's exit, wait for the runtime's exit, or until its output is read and stays idle."""
    idle = 0.0
    while True:
        await asyncio.wait([exited], timeout=_IDLE_POLL)
        if exited.done():
            return exited.result()
        idle = idle + _IDLE_POLL if all(end.starved for end in outputs) else 0.0
        code = pidfds.exit_code(command) if command is not None else None
        if idle >= IDLE_TIMEOUT and code is not None:
            return code
        if idle >= IDLE_TIMEOUT_UNKNOWN:
            raise CrishimError(
                Kind.INTERNAL,
                "the command has ended, but a process it left behind holds its output: its exit code is not known",
            )
