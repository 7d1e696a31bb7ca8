"""Serve the page's connections: one request each, over the listener of the streaming server, which limits connections
without the secret; those with it are limited here.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from crishim.cli import timeline
from crishim.cli.page.answers import (
    DRAWING_POLICY,
    FILES,
    HTML,
    SVG,
    TEXT,
    PageRefusal,
    Resource,
    answer,
    begin_events,
    event,
    refuse,
    resource_of,
)
from crishim.cli.page.calls import DaemonError
from crishim.cli.page.document import document
from crishim.cli.page.observer import Observer
from crishim.cri.stream.byte_stream import ByteStream
from crishim.cri.stream.http_upgrade import BadRequest, RequestHead, UpgradeRequest
from crishim.cri.stream.listener import PendingConnection

MOST_PENDING = 32  # connections without a valid request yet; the oldest is closed for a new one
MOST_READERS = 32  # connections with a valid request
MOST_FOLLOWERS = 16  # of them, streams of events
HEAD_TIMEOUT = 10.0  # seconds a client has for its request
WRITE_TIMEOUT = 30.0  # seconds a client may not read
HEARTBEAT = 15.0  # seconds without a change until a comment is sent, to detect a client that is gone
LINGER = 2.0  # seconds a client has to close after the response
BUSY = PageRefusal(503, "too many readers of this page at once")

log = logging.getLogger(__name__)


class PageServer:
    """Serves connections. secret: the first component of every path, "" for none. name: the node's."""

    def __init__(self, observer: Observer, secret: str, name: str) -> None:
        self._observer = observer
        self._secret = secret
        self._name = name
        self._readers = 0
        self._followers = 0
        self._files = {name: (Path(__file__).parent / name).read_bytes() for name in FILES}

    def counts(self) -> tuple[int, int]:
        """The current numbers of readers, and of followers among them."""
        return self._readers, self._followers

    async def serve_connection(self, stream: ByteStream, pending: PendingConnection) -> None:
        """Serve one connection: a request and its response."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(HEAD_TIMEOUT):
                request = await _head(stream)
            if isinstance(request, PageRefusal):
                await _send(stream, refuse(request))
            else:
                await self._serve(stream, pending, request)
            await _linger(stream)

    async def _serve(self, stream: ByteStream, pending: PendingConnection, request: UpgradeRequest) -> None:
        wanted, bare = resource_of(request, self._secret), request.method == "HEAD"
        if isinstance(wanted, PageRefusal):
            return await _send(stream, refuse(wanted, bare=bare))
        if self._readers >= MOST_READERS or (wanted.kind == "events" and self._followers >= MOST_FOLLOWERS):
            return await _send(stream, refuse(BUSY, bare=bare))
        pending.authorized()
        self._readers += 1
        try:
            if wanted.kind == "events":
                await self._serve_events(stream, bare=bare)
            else:
                await _send(stream, await self._answer(wanted, bare=bare))
        finally:
            self._readers -= 1

    async def _answer(self, wanted: Resource, *, bare: bool) -> bytes:
        if wanted.kind == "file":
            return answer(FILES[wanted.name], self._files[wanted.name], bare=bare)
        if wanted.kind == "page":
            return answer(HTML, document(await self._observer.fresh(), self._name).encode(), bare=bare)
        try:
            start = await self._observer.start_of(wanted.name)
        except DaemonError as error:
            return refuse(PageRefusal(404, str(error)), bare=bare)
        if start is None:
            return refuse(PageRefusal(404, "the start of this pod is not kept"), bare=bare)
        if wanted.kind == "start.txt":
            return answer(TEXT, timeline.text(start).encode(), bare=bare)
        return answer(SVG, timeline.svg(start).encode(), policy=DRAWING_POLICY, bare=bare)

    async def _serve_events(self, stream: ByteStream, *, bare: bool) -> None:
        """Send every part, then each that changes, until the client is gone."""
        await _send(stream, begin_events())
        if bare:
            return
        self._followers += 1
        gone = asyncio.create_task(stream.read())  # a client sends nothing more: anything read ends it
        try:
            async with contextlib.aclosing(self._observer.changes({})) as changes:
                await _pass_on(stream, changes, gone)
        finally:
            self._followers -= 1
            gone.cancel()
            await asyncio.wait([gone])
            with contextlib.suppress(asyncio.CancelledError, OSError):
                gone.result()


async def _pass_on(stream: ByteStream, changes: AsyncIterator[Mapping[str, str]], gone: "asyncio.Task[bytes]") -> None:
    async def following() -> Mapping[str, str]:
        return await anext(changes)

    next_change = asyncio.create_task(following())
    try:
        while True:
            await asyncio.wait([next_change, gone], timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                return
            if not next_change.done():
                await _send(stream, b": nothing new\n\n")
                continue
            for name, html in next_change.result().items():
                await _send(stream, event("part", json.dumps({"name": name, "html": html})))
            next_change = asyncio.create_task(following())
    finally:
        next_change.cancel()
        await asyncio.wait([next_change])


async def _head(stream: ByteStream) -> UpgradeRequest | PageRefusal:
    head = RequestHead()
    while True:
        try:
            request = head.receive_data(await stream.read())
        except BadRequest as error:
            return PageRefusal(400, str(error))
        if request is not None:
            return request


async def _send(stream: ByteStream, data: bytes) -> None:
    """Raises TimeoutError if the client does not read it."""
    async with asyncio.timeout(WRITE_TIMEOUT):
        await stream.write(data)


async def _linger(stream: ByteStream) -> None:
    """Shut down our side, and wait until the client closes: closing a socket with unread data resets the connection,
    and the response is lost (RFC 9112, section 9.6)."""
    async with asyncio.timeout(LINGER):
        await stream.write_eof()
        while await stream.read():
            pass
