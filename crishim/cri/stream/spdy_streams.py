"""A SPDY session as asyncio sees it: streams to read from and write to, over a carrier.

One task runs the session (`run`): it reads the carrier and puts what comes into the streams' inlets. When an inlet is
full it stops reading, and with it all streams of the session: clients of Kubernetes keep no windows, so this is the
only brake they feel. A client that keeps windows never gets that far.
"""

import asyncio
from collections.abc import Callable

from crishim.cri.stream.carriers import Carrier
from crishim.cri.stream.connection import ConnectionEnded
from crishim.cri.stream.inlet import Inlet
from crishim.wire.spdy import Session
from crishim.wire.spdy_events import (
    SESSION,
    DataReceived,
    Event,
    GoneAway,
    SessionFailed,
    StreamEnded,
    StreamOpened,
    StreamReset,
    WindowOpened,
)
from crishim.wire.spdy_frames import ResetStatus
from crishim.wire.spdy_headers import Headers
from crishim.wire.spdy_state import FlowControl, Role

PIECE = 32 * 1024  # bytes of a data frame we send
MAX_ANSWERS = 64 * 1024  # bytes of answers that may wait for a client that does not read
KEEP_ALIVE = 5.0  # seconds between signs of life while a session is stalled


class Stream:
    """One stream of a client. Made by SpdyStreams."""

    def __init__(self, owner: "SpdyStreams", number: int, headers: Headers) -> None:
        self.number = number
        self.headers = headers
        self.inlet = Inlet(lambda size: owner.session.consumed(number, size))
        self.window_opened = asyncio.Event()
        self.gone = asyncio.Event()  # both directions have ended, or it was reset
        self._owner = owner

    def accept(self) -> None:
        """Tell the client that the stream is taken; it waits for this before it sends. Goes out with the next flush."""
        if self._owner.session.is_open(self.number):
            self._owner.session.reply(self.number)

    def refuse(self) -> None:
        """Tell the client that nobody wants the stream. Goes out with the next flush."""
        self._owner.session.reset(self.number, ResetStatus.REFUSED_STREAM)
        self._owner.forget(self.number)

    async def read(self) -> bytes:
        """The next bytes, b"" when the client ended or reset the stream."""
        data = await self.inlet.get()
        await self._owner.answer()  # a window may have to be opened
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes. Those for a stream that the client has reset are dropped."""
        session, rest = self._owner.session, memoryview(data)
        while rest:
            room = session.sendable(self.number)
            if room:
                session.send_data(self.number, bytes(rest[: min(room, PIECE)]))
                rest = rest[min(room, PIECE) :]
                await self._owner.flush()
            elif session.is_open(self.number) and session.is_sending(self.number):
                self.window_opened.clear()
                await self.window_opened.wait()
            else:
                return

    async def end(self) -> None:
        """Nothing more will be written."""
        if self._owner.session.is_sending(self.number):
            self._owner.session.send_data(self.number, b"", fin=True)
            self._owner.forget_closed(self.number)
            await self._owner.flush()

    async def reset(self) -> None:
        """End both directions."""
        self._owner.session.reset(self.number)
        self._owner.forget(self.number)
        await self._owner.flush()


class SpdyStreams:
    """The server's end of a session. opened is called for each new stream, which it may accept, now or later."""

    def __init__(self, carrier: Carrier, opened: Callable[[Stream], None]) -> None:
        self.session = Session(Role.SERVER, flow_control=FlowControl.LEARNED)
        self._carrier = carrier
        self._opened = opened
        self._streams: dict[int, Stream] = {}
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        """Serve until ConnectionEnded: the client is gone, went away, or broke the protocol."""
        while True:
            for event in self.session.receive_data(await self._carrier.read()):
                await self._handle(event)
            await self.answer()

    async def answer(self) -> None:
        """Write what the session has to say, but do not wait behind data for a slow client.

        Whoever writes that data takes the answers along. So a client that does not read can still type Ctrl-C. If it
        asks for too many answers, it has to read first.
        """
        if not self._writing.locked() or self.session.pending > MAX_ANSWERS:
            await self.flush()

    async def flush(self) -> None:
        """Write what the session has to say, waiting while the client is slow."""
        async with self._writing:  # frames must reach the carrier in the order the session made them
            while data := self.session.data_to_send():
                await self._carrier.write(data)

    async def close(self) -> None:
        """Say goodbye: reset what is open, GOAWAY."""
        for number in [*self._streams]:
            self.session.reset(number)
            self.forget(number)
        self.session.go_away()
        await self.flush()
        await self._carrier.close()

    def forget(self, number: int) -> None:
        """A stream is gone: its reader sees the end, its writer stops waiting."""
        stream = self._streams.pop(number, None)
        if stream is not None:
            stream.inlet.end()
            stream.window_opened.set()
            stream.gone.set()

    def forget_closed(self, number: int) -> None:
        """Forget a stream if both its directions have ended."""
        if not self.session.is_open(number):
            self.forget(number)

    async def _handle(self, event: Event) -> None:
        match event:
            case StreamOpened(number, headers):
                self._streams[number] = Stream(self, number, headers)
                self._opened(self._streams[number])
            case DataReceived(number, data):
                stream = self._streams.get(number)
                if stream is None:
                    self.session.consumed(number, len(data))
                else:
                    await self._put(stream, data)
            case StreamEnded(number):
                if number in self._streams:
                    self._streams[number].inlet.end()
                self.forget_closed(number)
            case StreamReset(number):
                self.forget(number)
            case WindowOpened(number):
                for stream in self._streams.values():
                    if number in (SESSION, stream.number):
                        stream.window_opened.set()
            case SessionFailed(reason):
                await self.flush()
                raise ConnectionEnded(f"the client broke SPDY: {reason}")
            case GoneAway() if not self._streams:  # those it left open it may still use
                raise ConnectionEnded("the client went away")

    async def _put(self, stream: Stream, data: bytes) -> None:
        """Hand data to a stream; while it has no room, look every now and then whether the client is still there.

        Its end of the connection cannot arrive: it queues behind the data that is not being read.
        """
        if not stream.inlet.has_room():
            await self.answer()  # not only when the inlet has room again
        while True:
            try:
                async with asyncio.timeout(KEEP_ALIVE):
                    await stream.inlet.put(data)
                return
            except TimeoutError:
                self.session.keep_alive()
                await self.answer()
