"""SOCK_SEQPACKET in the event loop: packets keep their bounds, which asyncio's own transports do not. unix(7)."""

import asyncio
import contextlib
import socket
from collections.abc import Callable


class PacketSocket:
    """Owns a connected, non-blocking packet socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._loop = asyncio.get_running_loop()

    async def receive(self, size: int) -> bytes:
        """The next packet, b"" when the peer has closed."""
        while True:
            try:
                return self._socket.recv(size)
            except BlockingIOError:
                await self._ready(self._loop.add_reader, self._loop.remove_reader)
            except OSError:
                return b""

    async def send(self, data: bytes) -> bool:
        """Send one packet, waiting while the peer is slow; False if it is gone."""
        while True:
            try:
                self._socket.send(data, socket.MSG_NOSIGNAL)
                return True
            except BlockingIOError:
                await self._ready(self._loop.add_writer, self._loop.remove_writer)
            except OSError:
                return False

    def shutdown(self) -> None:
        """End our sending side."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()

    async def _ready(
        self, add: Callable[[socket.socket, Callable[[], None]], None], remove: Callable[[socket.socket], bool]
    ) -> None:
        ready = self._loop.create_future()
        add(self._socket, lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            remove(self._socket)
