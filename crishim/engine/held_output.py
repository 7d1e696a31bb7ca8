"""Waiting for a runtime that copies its command's output (runc), without waiting for ever.

Such a runtime stays until every process that holds its pipes has ended. A command that leaves a background process
behind, which keeps its stdout open, would hold up its session until that process ends; containerd and CRI-O do wait.
Here the command counts as ended when it is gone and its output has been silent for a while. The exit code, which the
runtime would only tell by its own, then comes from the kernel (pidfds.py, since Linux 6.15).

For the kernel to be asked, a pidfd must have been opened before the command ended. The pid file comes only after the
command has begun, and a short command may be gone by then. So all children of the runtime are held on to while it
prepares, and the pid file tells which of them it was.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from crishim.errors import CrishimError, Kind
from crishim.linux import executors, pidfds, process_trees

HELD = 0.5  # seconds of silence after which a background process does not count as output any more
UNKNOWN = 10.0  # the same where the exit code will not be known: on older kernels, or if the command was too short
_LOOKS = (0.002, 0.008)  # seconds between looks for the runtime's children, the first and the longest
_PAUSE = 0.05  # seconds between looks at the silence


async def wait(child: asyncio.subprocess.Process, pid_file: Path, silent: Callable[[], bool]) -> int:
    """The exit code of the runtime, or of the command it ran; in the second case the runtime still runs, to no use.

    silent: whether all output so far has been read. INTERNAL if the command has ended, its output is held, and nobody
    can tell its exit code.
    """
    exited = asyncio.create_task(child.wait())
    try:
        with _Children(child.pid) as children:
            command = await _find(children, pid_file, exited)
            await _gone(command, exited)
            return await _silence(command, exited, silent) if not exited.done() else exited.result()
    finally:
        exited.cancel()


class _Children:
    """Pidfds of a process's children, opened as they are seen."""

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self._held: dict[int, int] = {}

    def look(self) -> None:
        for pid in process_trees.children(self._parent) - self._held.keys():
            with contextlib.suppress(ProcessLookupError):
                self._held[pid] = os.pidfd_open(pid)

    def get(self, pid: int) -> int | None:
        return self._held.get(pid)

    def __enter__(self) -> "_Children":
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._held.values():
            os.close(fd)


async def _find(children: _Children, pid_file: Path, exited: asyncio.Task[int]) -> int | None:
    """The command's pidfd; None if the runtime has ended, or the command was gone before it was seen."""

    def look() -> int | None:
        """The command's pid, once it has begun; before the look, so that one that still runs is among the children."""
        try:
            begun = int(pid_file.read_text() or 0)
        except FileNotFoundError:
            begun = None
        children.look()
        return begun

    for pause in _pauses():
        pid = await executors.processes(look)
        if pid is not None or exited.done():
            return children.get(pid) if pid is not None else None
        await asyncio.wait([exited], timeout=pause)
    return None


def _pauses() -> Iterator[float]:
    pause, longest = _LOOKS
    while True:
        yield pause
        pause = min(1.3 * pause, longest)


async def _gone(command: int | None, exited: asyncio.Task[int]) -> None:
    if command is None:
        return
    with pidfds.watched(command) as ended:
        either: list[asyncio.Future[Any]] = [exited, ended]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)


async def _silence(command: int | None, exited: asyncio.Task[int], silent: Callable[[], bool]) -> int:
    """The command is gone: wait for the runtime's exit, or for its output to stay silent."""
    quiet = 0.0
    while True:
        await asyncio.wait([exited], timeout=_PAUSE)
        if exited.done():
            return exited.result()
        quiet = quiet + _PAUSE if silent() else 0.0
        code = pidfds.exit_code(command) if command is not None else None
        if quiet >= HELD and code is not None:
            return code
        if quiet >= UNKNOWN:
            raise CrishimError(
                Kind.INTERNAL,
                "the command has ended, but a process it left behind holds its output: its exit code is not known",
            )
