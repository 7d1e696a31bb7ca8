"""Running a command inside a container to its end and collecting what it printed: ExecSync, probes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from crishim.engine.exec_session import ExecSession, start
from crishim.errors import CrishimError, Kind

OUTPUT_LIMIT = 16 * 1024 * 1024 - 64 * 1024  # bytes of stdout and stderr together: the answer must fit 16 MiB


class SyncResult(NamedTuple):
    stdout: bytes
    stderr: bytes
    exit_code: int


class _Budget:
    """What may still be kept, of both outputs together."""

    def __init__(self, limit: int, keep: Callable[[int], int]) -> None:
        self._left = limit
        self._keep = keep

    async def collect(self, read: Callable[[], Awaitable[bytes]]) -> bytes:
        """Everything one output gives, as far as the budget goes; the rest is read and dropped."""
        kept = bytearray()
        while data := await read():
            size = self._keep(min(len(data), self._left))
            if size < len(data):
                self._left = size  # nothing after a gap
            kept += data[:size]
            self._left -= size
        return bytes(kept)


async def run_sync(
    runtime: Path,
    root: Path,
    container_id: str,
    process: Mapping[str, Any],
    scratch: Path,
    *,
    timeout: float = 0,
    limit: int = OUTPUT_LIMIT,
    keep: Callable[[int], int] = int,
) -> SyncResult:
    """Run `process` in a running container and wait for it. A terminal in it is ignored.

    timeout: seconds, 0 for none; then the command and its descendants are killed and DEADLINE is raised.
    limit: bytes of stdout and stderr together; keep: how many of so many bytes may be kept now. What goes beyond either
    is read and dropped. A non-zero exit is no error. A background process the command leaves behind may hold its output
    open: it is not waited for (see exec_process.py). A command that cannot be executed is INVALID, PRECONDITION or
    INTERNAL, with the runtime's words.
    """
    process = {**process, "terminal": False}
    session: ExecSession | None = None
    try:
        async with asyncio.timeout(timeout or None):
            session = await start(runtime, root, container_id, process, scratch, stdin=False)
            return await _collect(session, _Budget(limit, keep))
    except TimeoutError:
        raise CrishimError(
            Kind.DEADLINE,
            f"command {process['args'][0]!r} did not end within {timeout:g} s and was killed",
            container=container_id,
        ) from None
    finally:
        if session is not None:
            await _close(session)


async def _close(session: ExecSession) -> None:
    """Close it to the end, also when the caller is cancelled meanwhile."""
    closing = asyncio.create_task(session.close())
    try:
        await asyncio.shield(closing)
    finally:
        await asyncio.wait([closing])


async def _collect(session: ExecSession, budget: _Budget) -> SyncResult:
    outputs = [asyncio.create_task(budget.collect(read)) for read in (session.read_stdout, session.read_stderr)]
    try:
        code = await session.wait()
        out, err = await asyncio.gather(*outputs)
    finally:
        for task in outputs:
            task.cancel()
        await asyncio.gather(*outputs, return_exceptions=True)
    return SyncResult(out, err, code)
