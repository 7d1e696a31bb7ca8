"""Running a command inside a container through the OCI runtime's `exec`, interactively.

Without a terminal the command's stdio are pipes. With one it depends on the runtime: crun sends the terminal's master
to us and is out of the way (it ignores the size of a terminal it would have to copy from); runc insists on copying
between the container's terminal and the one it was started on, so it gets one of ours, in raw mode, and is told with
SIGWINCH when our size changes.
"""

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crishim.engine.exec_process import ExecProcess, copies_output
from crishim.errors import CrishimError, Kind
from crishim.linux import executors, terminals
from crishim.linux.pipes import ReadEnd, WriteEnd

TERMINAL_QUIET = 0.3  # seconds without output after which a terminal that others still hold counts as ended
CONSOLE_TIMEOUT = 30.0  # seconds for the runtime to send the terminal
SOCKET_PATH = 107  # bytes, sockaddr_un


class ExecSession:
    """A running command; satisfies crishim.cri.stream.sessions.Session. Made by start()."""

    def __init__(self, process: ExecProcess) -> None:
        self._process = process
        self._stdin: WriteEnd | None = None
        self._stdout: ReadEnd | None = None
        self._stderr: ReadEnd | None = None
        self._terminal = -1

    async def write_stdin(self, data: bytes) -> None:
        if self._stdin is not None:
            await self._stdin.write(data)

    async def close_stdin(self) -> None:
        if self._stdin is not None and self._terminal < 0:
            self._stdin.close()

    async def read_stdout(self) -> bytes:
        return await self._stdout.read() if self._stdout is not None else b""

    async def read_stderr(self) -> bytes:
        return await self._stderr.read() if self._stderr is not None else b""

    async def resize(self, width: int, height: int) -> None:
        if self._terminal >= 0:
            terminals.resize(self._terminal, width, height)
            if self._process.copies:
                self._process.wake(signal.SIGWINCH)

    async def wait(self) -> int:
        """The exit code; what the command left unread is still there for read_stdout and read_stderr.

        Raises with the runtime's words if the command could not be executed.
        """
        outputs = [end for end in (self._stdout, self._stderr) if end is not None]
        try:
            return await self._process.wait(lambda: all(end.starved for end in outputs))
        finally:
            for end in outputs:
                end.drain(TERMINAL_QUIET if self._terminal >= 0 else 0)

    async def close(self) -> None:
        try:
            await self._process.close()
        finally:
            for end in (self._stdin, self._stdout, self._stderr):
                if end is not None:
                    end.close()
            if self._terminal >= 0:
                os.close(self._terminal)
                self._terminal = -1

    # how start() furnishes it; each owns what it makes from the moment it is made

    async def prepare(self, process: Mapping[str, Any]) -> None:
        await self._process.prepare(process)

    async def open_pipes(self, root: Path, *, stdin: bool, stdout: bool, stderr: bool) -> None:
        null = asyncio.subprocess.DEVNULL
        theirs = [null, null, null]
        with contextlib.ExitStack() as stack:
            if stdin:
                theirs[0], ours = os.pipe()
                stack.callback(os.close, theirs[0])
                self._stdin = WriteEnd(ours)
            if stdout:
                ours, theirs[1] = os.pipe()
                stack.callback(os.close, theirs[1])
                self._stdout = ReadEnd(ours)
            if stderr:
                ours, theirs[2] = os.pipe()
                stack.callback(os.close, theirs[2])
                self._stderr = ReadEnd(ours)
            await self._process.spawn(root, (theirs[0], theirs[1], theirs[2]))

    async def open_copied_terminal(self, root: Path) -> None:
        master, slave = terminals.open_raw_pair()
        try:
            self._own_terminal(master)
            await self._process.spawn(root, (slave, slave, slave), ["--tty"])
        finally:
            os.close(slave)

    async def open_terminal(self, root: Path) -> None:
        null = asyncio.subprocess.DEVNULL
        console = await executors.records(lambda: terminals.ConsoleSocket(_socket_path(self._process.directory)))
        try:
            await self._process.spawn(root, (null, null, null), ["--tty", "--console-socket", str(console.path)])
            await self._receive_terminal(console)
        finally:
            await executors.records(console.close)

    async def _receive_terminal(self, console: terminals.ConsoleSocket) -> None:
        received = asyncio.create_task(console.receive())
        ended = asyncio.create_task(self._process.wait(lambda: True))
        try:
            async with asyncio.timeout(CONSOLE_TIMEOUT):
                await asyncio.wait([received, ended], return_when=asyncio.FIRST_COMPLETED)
                if not received.done():
                    ended.result()  # raises, unless the command was executed and the terminal is on its way
                self._own_terminal(await received)
        except TimeoutError:
            raise CrishimError(Kind.DEADLINE, f"no terminal came within {CONSOLE_TIMEOUT:g} s") from None
        finally:
            received.cancel()
            ended.cancel()
            await asyncio.gather(received, ended, return_exceptions=True)

    def _own_terminal(self, master: int) -> None:
        self._terminal = master
        self._stdin = WriteEnd(os.dup(master))
        self._stdout = ReadEnd(os.dup(master))


async def start(
    runtime: Path,
    root: Path,
    container_id: str,
    process: Mapping[str, Any],
    scratch: Path,
    *,
    stdin: bool,
    stdout: bool = True,
    stderr: bool = True,
) -> ExecSession:
    """Start `process` (an OCI runtime-spec process object; its `terminal` decides about a tty) in a running container.

    runtime: path of crun or runc. root: its --root. scratch: an existing directory for small files of the session;
    nothing is left there afterwards. That the command cannot be executed shows here or in wait(): INVALID,
    PRECONDITION or INTERNAL, with the runtime's words.
    """
    copies = await copies_output(runtime)
    session = ExecSession(ExecProcess(runtime, container_id, process["args"][0], scratch, copies))
    try:
        await session.prepare(process)
        if not process.get("terminal"):
            await session.open_pipes(root, stdin=stdin, stdout=stdout, stderr=stderr)
        elif copies:
            await session.open_copied_terminal(root)
        else:
            await session.open_terminal(root)
    except BaseException:
        await session.close()
        raise
    return session


def _socket_path(directory: Path) -> Path:
    """A place for a socket: in the directory, or where the path is short enough."""
    path = directory / "console"
    if len(str(path).encode()) <= SOCKET_PATH:
        return path
    return Path(tempfile.gettempdir(), f"crishim-{os.getpid()}-{directory.name}")
