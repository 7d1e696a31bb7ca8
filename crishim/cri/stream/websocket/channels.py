"""A WebSocket's numbered channels over asyncio: each can be read and written like a stream.

One task runs the WebSocket (`run`). While a channel's buffer is full nothing is read, the client's pings included;
kubectl gives up after a minute without a pong. So a stalled WebSocket sends unsolicited pongs. They also show whether
the client is gone: its FIN queues behind data that is not being read, but a client that is gone answers a pong with a
TCP reset.
"""

import asyncio
from collections.abc import Iterable

from crishim.cri.stream.connection import Connection, ConnectionEnded
from crishim.cri.stream.receive_buffer import ReceiveBuffer, ReceivedBytes
from crishim.cri.stream.websocket.channel_codec import BadChannelMessage, ChannelClosed, ChannelCodec, ChannelData
from crishim.cri.stream.websocket.protocol import Fragment, WebSocket
from crishim.linux.byte_sockets import ByteSocket

PONG_INTERVAL = 5.0  # seconds between the pongs of a stalled WebSocket
PIECE = 32 * 1024  # bytes of a message we send
TAKEN = 64 * 1024  # bytes taken from a socket at once: a segment on the loopback
MAX_ANSWERS = 64 * 1024  # bytes of answers that may wait for a client that does not read


class Channels:
    """surplus: bytes received after the request head. readable: the channels whose data is read."""

    def __init__(
        self, connection: Connection, socket: WebSocket, surplus: bytes, subprotocol: str, readable: Iterable[int]
    ) -> None:
        self._connection = connection
        self._socket = socket
        self._surplus = surplus
        self._codec = ChannelCodec(subprotocol)
        received = ReceivedBytes()
        self._buffers = {number: ReceiveBuffer(received) for number in readable}
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        """Serve until ConnectionEnded: the client is gone, closed the WebSocket, or broke the protocol."""
        await self._flush()
        while self._socket.is_open:
            self._socket.feed(self._surplus or await self._connection.read())
            self._surplus = b""
            while (fragments := self._socket.next_fragments()) is not None:
                await self._connection.budget.spend()
                for fragment in fragments:
                    await self._receive(fragment)
                if self._socket.pending > MAX_ANSWERS:
                    await self._answer()
            await self._answer()
        raise ConnectionEnded("the client closed the WebSocket")

    async def _receive(self, fragment: Fragment) -> None:
        try:
            found = self._codec.receive(fragment.payload, first=fragment.first, last=fragment.last)
        except BadChannelMessage as error:
            self._socket.close(broken=str(error))
            await self._flush()
            raise ConnectionEnded(str(error)) from error
        for event in found:
            await self._handle(event)

    async def read(self, channel: int) -> bytes:
        """The next bytes, b"" when the client closed the channel."""
        return await self._buffers[channel].get()

    async def write(self, channel: int, data: bytes) -> None:
        """Send bytes as one or more messages; no bytes are an empty message."""
        for at in range(0, len(data) or 1, PIECE):
            async with self._writing:
                await self._write(channel, data[at : at + PIECE])

    async def write_from(self, channel: int, source: ByteSocket) -> None:
        """Send a socket's data until its end, read only as fast as the client takes it."""
        while not source.ended:
            async with self._writing:
                if data := source.take(TAKEN):
                    await self._write(channel, data)
            if not data and not source.ended:
                await source.readable()

    def end(self, channel: int) -> None:
        """Drop the channel's data, also what still comes."""
        self._buffers[channel].discard()

    async def close(self) -> None:
        """End the WebSocket normally."""
        self._socket.close()
        await self._flush()

    async def _write(self, channel: int, data: bytes) -> None:
        """Write one message; the caller holds `_writing`, so only one waits for the client."""
        self._socket.send(self._codec.encode(channel, data), text=self._codec.text)
        await self._write_out()

    async def _flush(self) -> None:
        """Write pending bytes, waiting while the client is slow."""
        async with self._writing:
            await self._write_out()

    async def _write_out(self) -> None:
        """Write pending bytes and the answers added meanwhile (see _answer()); the caller holds `_writing`."""
        while data := self._socket.data_to_send():
            await self._connection.write(data)

    async def _answer(self) -> None:
        """Write pongs and the like; if a message is being written to a slow client, its writer writes them, too."""
        if not self._writing.locked() or self._socket.pending > MAX_ANSWERS:
            await self._flush()

    async def _handle(self, event: ChannelData | ChannelClosed) -> None:
        buffer = self._buffers.get(event.channel)
        if buffer is None:
            return
        if isinstance(event, ChannelClosed):
            buffer.end()
            return
        await self._connection.budget.spend_on(event.data)
        while not buffer.offer(event.data):
            try:
                async with asyncio.timeout(PONG_INTERVAL):
                    await buffer.put(event.data)
                return
            except TimeoutError:
                self._socket.pong()
                await self._answer()
