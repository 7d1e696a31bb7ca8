"""`runc exec`: it copies between the command and its own stdio, and stays until all holders of its pipes have ended.

With a terminal it copies between the container's and the one it was started on. So it gets one of ours, in raw mode,
and is told with SIGWINCH when our size changes.

A command that leaves a background process behind, which keeps its stdout open, would hold up its session until that
process ends; containerd and CRI-O do wait. Here the command counts as ended when it is gone and its output has been
idle for a while. The exit code, which the runtime would only tell by its own, then comes from the kernel (pidfds.py,
since Linux 6.15). For the kernel to be asked, a pidfd must have been opened before the command ended. The pid file
comes only after the command has begun, and a short command may be gone by then. So the pidfds of all children of the
runtime are opened while it prepares, and the pid file tells which of them it was.
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

IDLE_TIMEOUT = 0.5  # seconds of idle output after which a background process does not count as output any more
IDLE_TIMEOUT_UNKNOWN = 10.0  # the same where the exit code will not be known: on older kernels, or a too short command
_POLL = (0.002, 0.008)  # seconds between looks for the runtime's children, the first and the longest
_IDLE_POLL = 0.05  # seconds between looks at the output


class RuncExec:
    """The strategy for runc, and for any runtime that is not known; see strategy.py."""

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
        """INTERNAL if the command has ended, its output is held, and its exit code is not known."""
        exited = asyncio.create_task(child.wait())
        try:
            with _Children(child.pid) as children:
                command = await _find_command(children, child.pid_file, exited)
                await _wait_ended(command, exited)
                status = exited.result() if exited.done() else await _wait_idle(command, exited, outputs)
        finally:
            exited.cancel()
        await child.kill_runtime()  # it waits for a process that is none of this session's
        return status


class _Children:
    """Pidfds of a process's children, opened as they are seen."""

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
    """The command's pidfd; None if the runtime has ended, or the command was gone before it was seen."""

    def look() -> int | None:
        """The command's pid, once it has begun; before the look, so that one that still runs is among the children."""
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
    """Wait for the end of the command or of the runtime."""
    if command is None:
        return
    with pidfds.watched(command) as ended:
        either: list[asyncio.Future[Any]] = [exited, ended]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)


async def _wait_idle(command: int | None, exited: asyncio.Task[int], outputs: Sequence[ReadEnd]) -> int:
    """The command is gone: wait for the runtime's exit, or for its output to stay idle with all of it read."""
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
