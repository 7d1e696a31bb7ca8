"""An interactive command in a running container, with its stdin, stdout, stderr or terminal.

Without a terminal the command's stdio are pipes, with every runtime. How a terminal is opened, and how the command's
exit is detected, depends on the strategy: crun.py, runc.py.
"""

import asyncio
import contextlib
import os

from crishim.engine.exec.child import Command, ExecChild
from crishim.engine.exec.strategy import Strategy, choose
from crishim.linux import terminals
from crishim.linux.pipes import ReadEnd, WriteEnd

TERMINAL_IDLE = 0.3  # seconds without output until a terminal that other processes still hold counts as ended


async def start(command: Command, *, stdin: bool, stdout: bool = True, stderr: bool = True) -> "ExecSession":
    """Start a command with the given streams; the others are /dev/null. With a terminal there is no stderr.

    A command that cannot be executed raises here or in wait(): INVALID, PRECONDITION or INTERNAL, with the runtime's
    message.
    """
    session = ExecSession(ExecChild(command), await choose(command.runtime))
    try:
        await session.open(terminal=bool(command.process.get("terminal")), stdin=stdin, stdout=stdout, stderr=stderr)
    except BaseException:
        await session.close()
        raise
    return session


class ExecSession:
    """Made by start(); implements crishim.cri.stream.runtime.ProcessSession. Owns the child and its descriptors."""

    def __init__(self, child: ExecChild, strategy: Strategy) -> None:
        self._child = child
        self._strategy = strategy
        self._stdin: WriteEnd | None = None
        self._stdout: ReadEnd | None = None
        self._stderr: ReadEnd | None = None
        self._terminal = -1  # the master

    async def open(self, *, terminal: bool, stdin: bool, stdout: bool, stderr: bool) -> None:
        """Start the child. The session owns all descriptors once they are opened: call close() after an error."""
        await self._child.prepare()
        if terminal:
            self._terminal = await self._strategy.open_terminal(self._child)
            self._stdin = WriteEnd(os.dup(self._terminal))
            self._stdout = ReadEnd(os.dup(self._terminal))
        else:
            await self._open_pipes(stdin=stdin, stdout=stdout, stderr=stderr)

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
            self._strategy.resized(self._child)

    async def wait(self) -> int:
        """The exit code; unread output can still be read by read_stdout and read_stderr.

        Raises an error with the runtime's message if the command could not be executed.
        """
        outputs = [end for end in (self._stdout, self._stderr) if end is not None]
        try:
            return await self._child.exit_code(await self._strategy.wait(self._child, outputs))
        finally:
            for end in outputs:
                end.drain(TERMINAL_IDLE if self._terminal >= 0 else 0)

    async def close(self) -> None:
        """Kill the command if it still runs, and free everything."""
        try:
            await self._child.close()
        finally:
            for end in (self._stdin, self._stdout, self._stderr):
                if end is not None:
                    end.close()
            if self._terminal >= 0:
                os.close(self._terminal)
                self._terminal = -1

    async def _open_pipes(self, *, stdin: bool, stdout: bool, stderr: bool) -> None:
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
            await self._child.spawn((theirs[0], theirs[1], theirs[2]))
