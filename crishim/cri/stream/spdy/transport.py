"""Transports of a SPDY session: the upgraded connection itself, or binary messages of a WebSocket (a tunnel)."""

from typing import TYPE_CHECKING, Protocol

from crishim.cri.stream.connection import Connection, ConnectionEnded
from crishim.cri.stream.fair_scheduler import Budget

if TYPE_CHECKING:
    from crishim.cri.stream.websocket.protocol import WebSocket


class SpdyTransport(Protocol):
    budget: Budget  # the connection's share of the event loop

    async def read(self) -> bytes:
        """The next bytes. Raises ConnectionEnded at the end."""

    async def write(self, data: bytes) -> None: ...

    async def close(self) -> None:
        """After the last bytes: close the WebSocket, if there is one."""


MAX_ANSWERS = 16 * 1024  # bytes of pongs that may wait until all received frames are read


class TunnelTransport:
    """SPDY in WebSocket messages, whose boundaries have no meaning (client-go, TunnelingConnection)."""

    def __init__(self, connection: Connection, socket: "WebSocket", surplus: bytes) -> None:
        self.budget = connection.budget
        self._connection = connection
        self._socket = socket
        self._surplus = surplus

    async def read(self) -> bytes:
        while True:
            while (fragments := self._socket.next_fragments()) is not None:
                await self.budget.spend()
                if self._socket.pending > MAX_ANSWERS:
                    await self._write()
                if payload := b"".join(f.payload for f in fragments):
                    return payload
            await self._write()
            if not self._socket.is_open:
                raise ConnectionEnded("the client closed the WebSocket")
            self._socket.feed(self._surplus or await self._connection.read())
            self._surplus = b""

    async def write(self, data: bytes) -> None:
        if data:
            self._socket.send(data)
            await self._write()

    async def close(self) -> None:
        self._socket.close()
        await self._write()

    async def _write(self) -> None:
        await self._connection.write(self._socket.data_to_send())


class ConnectionTransport:
    """SPDY on the TCP connection."""

    def __init__(self, connection: Connection, surplus: bytes) -> None:
        self.budget = connection.budget
        self._connection = connection
        self._surplus = surplus

    async def read(self) -> bytes:
        data = self._surplus or await self._connection.read()
        self._surplus = b""
        return data

    async def write(self, data: bytes) -> None:
        await self._connection.write(data)

    async def close(self) -> None:
        """Nothing to do: GOAWAY was sent."""
