"""Running one exec or attach: between a client's bundle of streams and a session, until either ends.

    client                bundle                    session
    stdin      ------->   read_stdin   ------->     write_stdin, close_stdin at its end
    resize     ------->   read_resize  ------->     resize
    stdout     <-------   write        <-------     read_stdout
    stderr     <-------   write        <-------     read_stderr
    error      <-------   finish       <-------     wait

The session's end is the end of it: when its outputs have ended and its exit code is known, the code is reported. The
client's end (ConnectionEnded, raised by bundle.run) cancels the rest, and closing the session kills what still runs.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from crishim.cri.stream.remotecommand import STDERR, STDOUT, Outcome, ResizeDecoder, Wanted
from crishim.cri.stream.sessions import Session
from crishim.errors import CrishimError

log = logging.getLogger(__name__)


class Bundle(Protocol):
    """A client's streams, whatever carries them."""

    async def run(self) -> None:
        """Move bytes until ConnectionEnded; the other methods work only while this runs."""

    async def wait_ready(self) -> None:
        """Wait until all streams are there. ConnectionEnded if the client takes too long."""

    async def read_stdin(self) -> bytes: ...

    async def read_resize(self) -> bytes: ...

    async def write(self, name: str, data: bytes) -> None: ...

    async def finish(self, outcome: Outcome) -> None:
        """Report the outcome and end all streams."""


async def serve(bundle: Bundle, wanted: Wanted, open_session: Callable[[], Awaitable[Session]]) -> None:
    """Open a session, stream until it ends, report. ConnectionEnded (in a group) if the client ended first."""
    async with asyncio.TaskGroup() as group:
        carrying = group.create_task(bundle.run())
        await bundle.wait_ready()
        await bundle.finish(await _run_session(bundle, wanted, open_session))
        carrying.cancel()


async def _run_session(bundle: Bundle, wanted: Wanted, open_session: Callable[[], Awaitable[Session]]) -> Outcome:
    try:
        session = await open_session()
    except CrishimError as error:
        return Outcome(error=error.message)
    outcome = Outcome(error="the session was cut short")
    try:
        outcome = Outcome(exit_code=await _stream(bundle, wanted, session))
    except* CrishimError as group:
        outcome = Outcome(error="; ".join(_messages(group)))
    finally:
        await _close(session)
    return outcome


async def _stream(bundle: Bundle, wanted: Wanted, session: Session) -> int:
    async with asyncio.TaskGroup() as group:
        inward = [group.create_task(_copy_stdin(bundle, session))] if wanted.stdin else []
        inward += [group.create_task(_follow_size(bundle, session))] if wanted.tty else []
        outward = [group.create_task(_copy_out(session.read_stdout, bundle, STDOUT))] if wanted.stdout else []
        outward += [group.create_task(_copy_out(session.read_stderr, bundle, STDERR))] if wanted.stderr else []
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


async def _copy_stdin(bundle: Bundle, session: Session) -> None:
    while data := await bundle.read_stdin():
        await session.write_stdin(data)
    await session.close_stdin()


async def _follow_size(bundle: Bundle, session: Session) -> None:
    decoder = ResizeDecoder()
    while data := await bundle.read_resize():
        for size in decoder.receive_data(data)[-1:]:  # of several that came together only the last one counts
            await session.resize(size.width, size.height)


async def _copy_out(read: Callable[[], Awaitable[bytes]], bundle: Bundle, name: str) -> None:
    while data := await read():
        await bundle.write(name, data)


async def _close(session: Session) -> None:
    """Close a session to its end, also when the one who waits is cancelled again."""
    closing = asyncio.create_task(session.close())
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:
        await asyncio.wait([closing])
        raise
    except CrishimError as error:
        log.warning("closing a streaming session: %s", error)
