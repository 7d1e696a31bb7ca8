"""What a SPDY session travels on: the upgraded connection itself, or binary messages of a WebSocket (a tunnel)."""

from typing import TYPE_CHECKING, Protocol

from crishim.cri.stream.connection import Connection, ConnectionEnded

if TYPE_CHECKING:
    from crishim.wire.websocket import WebSocket


class Carrier(Protocol):
    async def read(self) -> bytes:
        """Some bytes; ConnectionEnded when there will be no more."""

    async def write(self, data: bytes) -> None: ...

    async def close(self) -> None:
        """After the last bytes: say goodbye, if there is a way to."""


class Tunnel:
    """SPDY in WebSocket messages: their bounds mean nothing, only their bytes (client-go, TunnelingConnection)."""

    def __init__(self, connection: Connection, socket: "WebSocket", surplus: bytes) -> None:
        self._connection = connection
        self._socket = socket
        self._surplus = surplus

    async def read(self) -> bytes:
        while True:
            data = self._surplus or await self._connection.read()
            self._surplus = b""
            payload = b"".join(f.payload for f in self._socket.receive_data(data))
            await self._connection.write(self._socket.data_to_send())
            if payload:
                return payload
            if not self._socket.is_open:
                raise ConnectionEnded("the client closed the WebSocket")

    async def write(self, data: bytes) -> None:
        if data:
            self._socket.send(data)
            await self._connection.write(self._socket.data_to_send())

    async def close(self) -> None:
        self._socket.close()
        await self._connection.write(self._socket.data_to_send())


class Direct:
    """SPDY on the TCP connection."""

    def __init__(self, connection: Connection, surplus: bytes) -> None:
        self._connection = connection
        self._surplus = surplus

    async def read(self) -> bytes:
        data = self._surplus or await self._connection.read()
        self._surplus = b""
        return data

    async def write(self, data: bytes) -> None:
        await self._connection.write(data)

    async def close(self) -> None:
        """SPDY's own GOAWAY has said it."""
