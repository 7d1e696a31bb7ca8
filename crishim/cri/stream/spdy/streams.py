"""A SPDY session over asyncio: streams to read from and write to.

One task runs the session (`run`): it reads the transport and fills the streams' buffers. When one is full it stops
reading, for all streams of the session: clients of Kubernetes do not obey windows, so this is their only backpressure.
A client that obeys them never fills a buffer.

Writers queue for one lock. So an opened session window wakes one of them, not all, and only one piece of data waits for
a client that does not read.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

from crishim.cri.stream.connection import ConnectionEnded
from crishim.cri.stream.fair_scheduler import BYTES_PER_UNIT
from crishim.cri.stream.receive_buffer import ReceiveBuffer, ReceivedBytes
from crishim.cri.stream.spdy.events import (
    SESSION,
    DataReceived,
    Event,
    GoneAway,
    SessionFailed,
    StreamEnded,
    StreamOpened,
    StreamReset,
    WindowOpened,
    WindowsChanged,
)
from crishim.cri.stream.spdy.frames import ResetStatus
from crishim.cri.stream.spdy.headers import Headers
from crishim.cri.stream.spdy.session import SpdySession
from crishim.cri.stream.spdy.state import FlowControl, Role
from crishim.cri.stream.spdy.transport import SpdyTransport
from crishim.linux.byte_sockets import ByteSocket

PIECE = 32 * 1024  # bytes of a data frame we send
TAKEN = 64 * 1024  # bytes taken from a socket at once: a segment on the loopback
MAX_ANSWERS = 64 * 1024  # bytes of answers that may wait for a client that does not read
KEEP_ALIVE = 5.0  # seconds between keep-alive frames while a session is stalled
OPENING = 8  # units of work (fair_scheduler.py) that a new stream costs


class Stream:
    """One stream of a client. Made by SpdyStreams."""

    def __init__(self, owner: "SpdyStreams", number: int) -> None:
        self.number = number
        self.buffer = ReceiveBuffer(owner.received, lambda size: owner.session.consumed(number, size))
        self.window_opened: asyncio.Event | None = None  # set when the window opens; a writer waits for it
        self.on_reset: Callable[[], None] | None = None  # called when the client has reset it
        self._owner = owner

    def accept(self) -> None:
        """Accept the stream; the client waits for this before it sends. Goes out with the next flush."""
        if self._owner.session.is_open(self.number):
            self._owner.session.reply(self.number)

    def refuse(self) -> None:
        """Refuse the stream. Goes out with the next flush."""
        self._owner.session.reset(self.number, ResetStatus.REFUSED_STREAM)
        self._owner.forget(self.number)

    async def read(self) -> bytes:
        """The next bytes, b"" when the client ended or reset the stream."""
        data = await self.buffer.get()
        await self._owner.answer()  # a WINDOW_UPDATE may be due
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes. Those for a stream that the client has reset are dropped."""
        rest = memoryview(data)
        while rest:
            sent = await self._owner.send(self, partial(_front, rest[:PIECE]))
            if sent is None:
                return
            rest = rest[sent:]

    async def write_from(self, source: ByteSocket) -> None:
        """Send a socket's data until its end, read only as fast as the client takes it. Stops at a reset."""
        while not source.ended:
            sent = await self._owner.send(self, source.take)
            if sent is None:
                return
            if not sent and not source.ended:
                await source.readable()

    def finish(self) -> None:
        """End our direction. Goes out with the next flush."""
        if self._owner.session.is_sending(self.number):
            self._owner.session.send_data(self.number, b"", fin=True)
            self._owner.forget_closed(self.number)

    async def end(self) -> None:
        """End our direction."""
        self.finish()
        await self._owner.flush()

    async def reset(self) -> None:
        """End both directions, and drop what was not read."""
        self._owner.session.reset(self.number)
        self._owner.forget(self.number)
        self.buffer.discard()
        await self._owner.flush()


def _front(data: memoryview, size: int) -> bytes:
    return bytes(data[:size])


class StreamHandler(Protocol):
    """Uses the streams: remotecommand/spdy.py, portforward/spdy.py."""

    def stream_opened(self, stream: Stream, headers: Headers) -> None:
        """Accept or refuse a stream of the client, now or later."""


class SpdyStreams:
    """The server's end of a session. max_streams: how many the client may have open at once; more are refused."""

    def __init__(self, transport: SpdyTransport, handler: StreamHandler, max_streams: int) -> None:
        self.session = SpdySession(Role.SERVER, flow_control=FlowControl.LEARNED, max_streams=max_streams)
        self.received = ReceivedBytes()
        self._transport = transport
        self._handler: StreamHandler | None = handler
        self._streams: dict[int, Stream] = {}
        self._sending = asyncio.Lock()  # held by the stream whose data is next
        self._session_window = asyncio.Event()
        self._writing = asyncio.Lock()  # held while the transport is written to

    async def run(self) -> None:
        """Serve until ConnectionEnded: the client is gone, went away, or broke the protocol."""
        try:
            while True:
                self.session.feed(await self._transport.read())
                while (events := self.session.next_events()) is not None:
                    await self._receive(events)
                await self.answer()
        finally:  # they refer back to us and would keep the buffers until a garbage collection
            self._streams.clear()
            self._handler = None

    async def _receive(self, events: list[Event]) -> None:
        await self._transport.budget.spend()
        for event in events:
            await self._handle(event)
        if self.session.pending > MAX_ANSWERS:
            await self.answer()

    async def answer(self) -> None:
        """Write pending frames, but do not wait behind data for a slow client.

        The task that writes that data writes them, too. So a client that does not read can still send Ctrl-C. Beyond
        MAX_ANSWERS the client has to read first.
        """
        if not self._writing.locked() or self.session.pending > MAX_ANSWERS:
            await self.flush()

    async def flush(self) -> None:
        """Write pending frames, waiting while the client is slow."""
        async with self._writing:  # frames must reach the transport in the order the session made them
            await self._write()

    async def send(self, stream: Stream, take: Callable[[int], bytes]) -> int | None:
        """Wait until the windows allow data of a stream, and send what take(room) returns.

        Returns the number of bytes sent, maybe 0; None once the stream is closed for sending.
        """
        session, number = self.session, stream.number
        while session.is_sending(number):
            if not session.sendable(number) and not session.held_by_session(number):
                stream.window_opened = asyncio.Event()
                await stream.window_opened.wait()
                continue
            async with self._sending:
                while session.held_by_session(number):
                    self._session_window.clear()
                    await self._session_window.wait()
                async with self._writing:
                    room = min(session.sendable(number), TAKEN)
                    if not room:
                        continue
                    if data := take(room):
                        session.send_data(number, data)
                        await self._write()
                    return len(data)
        return None

    async def close(self) -> None:
        """Reset what is open, and send GOAWAY."""
        for number in [*self._streams]:
            self.session.reset(number)
            self.forget(number)
        self.session.go_away()
        await self.flush()
        await self._transport.close()

    def forget(self, number: int) -> None:
        """Remove a stream: its reader gets the end, its writer stops waiting."""
        stream = self._streams.pop(number, None)
        if stream is not None:
            stream.buffer.end()
            self._wake(stream)
            self._session_window.set()  # in case its writer waits for it

    def forget_closed(self, number: int) -> None:
        """Forget a stream if both its directions have ended."""
        if not self.session.is_open(number):
            self.forget(number)

    async def _write(self) -> None:
        while data := self.session.data_to_send():
            await self._transport.write(data)

    async def _handle(self, event: Event) -> None:
        match event:
            case StreamOpened(number, headers):
                await self._transport.budget.spend(OPENING)
                stream = self._streams[number] = Stream(self, number)
                if self._handler is not None:
                    self._handler.stream_opened(stream, headers)
            case DataReceived(number, data):
                found = self._streams.get(number)
                if found is None:
                    self.session.consumed(number, len(data))
                else:
                    await self._put(found, data)
            case StreamEnded(number):
                if number in self._streams:
                    self._streams[number].buffer.end()
                self.forget_closed(number)
            case StreamReset(number):
                found = self._streams.get(number)
                self.forget(number)
                if found is not None and found.on_reset is not None:
                    found.on_reset()
            case WindowOpened(number):
                if number == SESSION:
                    self._session_window.set()
                elif number in self._streams:
                    self._wake(self._streams[number])
            case WindowsChanged():  # rare: MAX_WINDOW_CHANGES
                for stream in self._streams.values():
                    self._wake(stream)
                self._session_window.set()
            case SessionFailed(reason):
                await self.flush()
                raise ConnectionEnded(f"the client broke SPDY: {reason}")
            case GoneAway() if not self._streams:  # open streams may still be used
                raise ConnectionEnded("the client went away")

    def _wake(self, stream: Stream) -> None:
        if stream.window_opened is not None:
            stream.window_opened.set()
            stream.window_opened = None

    async def _put(self, stream: Stream, data: bytes) -> None:
        """Put data into a stream's buffer; while it is full, check regularly whether the client is still there.

        The client's FIN is not seen meanwhile: it queues behind data that is not being read.
        """
        await self._transport.budget.spend(len(data) // BYTES_PER_UNIT)
        if stream.buffer.offer(data):
            return
        await self.answer()  # now, not only when the buffer has room again
        while True:
            try:
                async with asyncio.timeout(KEEP_ALIVE):
                    await stream.buffer.put(data)
                return
            except TimeoutError:
                self.session.keep_alive()
                await self.answer()
