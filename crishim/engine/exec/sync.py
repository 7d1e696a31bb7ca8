"""Run a command in a running container to its end and collect its output: ExecSync, probes."""

import asyncio
from typing import NamedTuple

from crishim.engine.exec.child import Command
from crishim.engine.exec.limits import Slot
from crishim.engine.exec.session import ExecSession, start
from crishim.errors import CrishimError, Kind

OUTPUT_LIMIT = 16 * 1024 * 1024 - 64 * 1024  # bytes of stdout and stderr together: the response must fit into 16 MiB


class SyncResult(NamedTuple):
    stdout: bytes
    stderr: bytes
    exit_code: int


async def run(command: Command, slot: Slot, *, timeout: float = 0, limit: int = OUTPUT_LIMIT) -> SyncResult:
    """Run a command and wait for it. Its process must have no terminal.

    timeout: seconds, 0 for none; then the command and its descendants are killed and DEADLINE is raised. limit: bytes
    of stdout and stderr together. Output beyond it, or beyond what the slot reserves, is read and dropped. A non-zero
    exit code is no error. A background process that holds the output open is not waited for (see runc.py). A command
    that cannot be executed raises INVALID, PRECONDITION or INTERNAL, with the runtime's message.
    """
    session: ExecSession | None = None
    try:
        async with asyncio.timeout(timeout or None):
            session = await start(command, stdin=False)
            return await _collect(session, _Output(slot, limit))
    except TimeoutError:
        raise CrishimError(
            Kind.DEADLINE,
            f"command {command.process['args'][0]!r} did not end within {timeout:g} s and was killed",
            container=command.container_id,
        ) from None
    finally:
        if session is not None:
            await _close(session)


class _Output:
    """Collects stdout and stderr, up to a common limit."""

    def __init__(self, slot: Slot, limit: int) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._slot = slot
        self._left = limit

    async def read_stdout(self, session: ExecSession) -> None:
        while data := await session.read_stdout():
            self._keep(self.stdout, data)

    async def read_stderr(self, session: ExecSession) -> None:
        while data := await session.read_stderr():
            self._keep(self.stderr, data)

    def _keep(self, kept: bytearray, data: bytes) -> None:
        size = self._slot.reserve(min(len(data), self._left))
        if size < len(data):
            self._left = size  # nothing is kept after a gap
        kept += data[:size]
        self._left -= size


async def _collect(session: ExecSession, output: _Output) -> SyncResult:
    readers = [asyncio.create_task(output.read_stdout(session)), asyncio.create_task(output.read_stderr(session))]
    try:
        code = await session.wait()
        await asyncio.gather(*readers)
    finally:
        for task in readers:
            task.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    return SyncResult(bytes(output.stdout), bytes(output.stderr), code)


async def _close(session: ExecSession) -> None:
    """Close the session completely, also if the caller is cancelled meanwhile."""
    closing = asyncio.create_task(session.close())
    try:
        await asyncio.shield(closing)
    finally:
        await asyncio.wait([closing])
