"""Serve one exec or attach: copy between a client's streams and a process's session, until either ends.

    client                ClientStreams             ProcessSession
    stdin      ------->   read_stdin   ------->     write_stdin, close_stdin at its end
    resize     ------->   read_resize  ------->     resize
    stdout     <-------   write        <-------     read_stdout
    stderr     <-------   write        <-------     read_stderr
    error      <-------   finish       <-------     wait

When the session's outputs have ended and its exit code is known, the code is reported. If the client ends first
(ConnectionEnded, raised by client.run), the rest is cancelled, and closing the session kills what still runs.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from crishim.cri.stream.remotecommand.protocol import STDERR, STDOUT, Outcome, ResizeDecoder, StreamOptions
from crishim.cri.stream.requests import AttachStream, ExecStream
from crishim.cri.stream.runtime import ProcessSession, StreamingRuntime
from crishim.errors import CrishimError

log = logging.getLogger(__name__)


class ClientStreams(Protocol):
    """A client's streams, over SPDY (spdy.py) or a WebSocket (websocket.py)."""

    async def run(self) -> None:
        """Move bytes until ConnectionEnded; the other methods work only while this runs."""

    async def wait_ready(self) -> None:
        """Wait until the client has created all streams. Raises ConnectionEnded if it takes too long."""

    async def read_stdin(self) -> bytes: ...

    async def read_resize(self) -> bytes: ...

    async def write(self, name: str, data: bytes) -> None: ...

    async def finish(self, outcome: Outcome) -> None:
        """Report the outcome and end all streams."""


Request = ExecStream | AttachStream


async def serve(client: ClientStreams, request: Request, runtime: StreamingRuntime) -> None:
    """Open a session, stream until it ends, report. Raises ConnectionEnded (in a group) if the client ends first."""
    async with asyncio.TaskGroup() as group:
        running = group.create_task(client.run())
        await client.wait_ready()
        await client.finish(await _run_session(client, request, runtime))
        running.cancel()


async def _run_session(client: ClientStreams, request: Request, runtime: StreamingRuntime) -> Outcome:
    try:
        session = await _open_session(request, runtime)
    except CrishimError as error:
        return Outcome(error=error.message)
    outcome = Outcome(error="the session was cut short")
    try:
        outcome = Outcome(exit_code=await _stream(client, request.options, session))
    except* CrishimError as group:
        outcome = Outcome(error="; ".join(_messages(group)))
    finally:
        await _close(session)
    return outcome


async def _open_session(request: Request, runtime: StreamingRuntime) -> ProcessSession:
    if isinstance(request, ExecStream):
        return await runtime.open_exec(request.container_id, request.spec)
    return await runtime.open_attach(request.container_id, **request.options._asdict())


async def _stream(client: ClientStreams, options: StreamOptions, session: ProcessSession) -> int:
    async with asyncio.TaskGroup() as group:
        inward = [group.create_task(_copy_stdin(client, session))] if options.stdin else []
        inward += [group.create_task(_copy_resize(client, session))] if options.tty else []
        outward = [group.create_task(_copy_out(session.read_stdout, client, STDOUT))] if options.stdout else []
        outward += [group.create_task(_copy_out(session.read_stderr, client, STDERR))] if options.stderr else []
        code = await session.wait()
        if outward:
            await asyncio.wait(outward)
        for task in inward:
            task.cancel()
    return code


def _messages(group: BaseExceptionGroup[CrishimError]) -> list[str]:
    found = []
    for error in group.exceptions:
        found += _messages(error) if isinstance(error, BaseExceptionGroup) else [error.message]
    return found


async def _copy_stdin(client: ClientStreams, session: ProcessSession) -> None:
    while data := await client.read_stdin():
        await session.write_stdin(data)
    await session.close_stdin()


async def _copy_resize(client: ClientStreams, session: ProcessSession) -> None:
    decoder = ResizeDecoder()
    while data := await client.read_resize():
        for size in decoder.receive_data(data)[-1:]:  # of several at once only the last is applied
            await session.resize(size.width, size.height)


async def _copy_out(read: Callable[[], Awaitable[bytes]], client: ClientStreams, name: str) -> None:
    while data := await read():
        await client.write(name, data)


async def _close(session: ProcessSession) -> None:
    """Close a session completely, also if the caller is cancelled again."""
    closing = asyncio.create_task(session.close())
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:
        await asyncio.wait([closing])
        raise
    except CrishimError as error:
        log.warning("closing a streaming session: %s", error)
