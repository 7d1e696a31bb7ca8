"""`crun exec`: the command inherits crun's stdio, or a terminal whose master crun sends to us; crun copies nothing.

crun ignores size changes of a terminal on its own stdio, so it is never given one.
"""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from crishim.engine.exec.child import ExecChild
from crishim.errors import CrishimError, Kind
from crishim.linux import executors, terminals
from crishim.linux.pipes import ReadEnd

CONSOLE_TIMEOUT = 30.0  # seconds for crun to send the terminal
SOCKET_PATH = 107  # bytes, sockaddr_un


class CrunExec:
    """The strategy for crun; see strategy.py."""

    async def open_terminal(self, child: ExecChild) -> int:
        null = asyncio.subprocess.DEVNULL
        console = await executors.records(terminals.ConsoleSocket, _socket_path(child.directory))
        with contextlib.ExitStack() as undo:
            try:
                await child.spawn((null, null, null), "--tty", "--console-socket", str(console.path))
                master = await _receive(console, child)
                undo.callback(os.close, master)
            finally:
                await executors.records(console.close)
            undo.pop_all()
        return master

    def resized(self, child: ExecChild) -> None:
        """Nothing to do: it is the command's own terminal, and the kernel sends SIGWINCH."""

    async def wait(self, child: ExecChild, outputs: Sequence[ReadEnd]) -> int:
        return await child.wait()


async def _receive(console: terminals.ConsoleSocket, child: ExecChild) -> int:
    """The terminal's master. Raises DEADLINE if it is not sent, and if the command cannot be executed."""
    receiving = asyncio.create_task(console.receive())
    exiting = asyncio.create_task(child.wait())
    try:
        async with asyncio.timeout(CONSOLE_TIMEOUT):
            await asyncio.wait([receiving, exiting], return_when=asyncio.FIRST_COMPLETED)
            if not receiving.done():
                await child.exit_code(exiting.result())  # no error: it was executed, the terminal will come
            return await receiving
    except TimeoutError:
        raise CrishimError(Kind.DEADLINE, f"no terminal came within {CONSOLE_TIMEOUT:g} s") from None
    finally:
        receiving.cancel()
        exiting.cancel()
        await asyncio.gather(receiving, exiting, return_exceptions=True)


def _socket_path(directory: Path) -> Path:
    """The console socket's path: in the directory, or in the temporary directory if that is too long."""
    path = directory / "console"
    if len(str(path).encode()) <= SOCKET_PATH:
        return path
    return Path(tempfile.gettempdir(), f"crishim-{os.getpid()}-{directory.name}")
