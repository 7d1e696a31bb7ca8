"""SOCK_SEQPACKET in the event loop: packets keep their bounds, which asyncio's own transports do not. unix(7)."""

import socket

from crishim.linux.async_sockets import AsyncSocket


class SeqpacketSocket(AsyncSocket):
    """Owns a connected, non-blocking packet socket."""

    async def receive(self, size: int) -> bytes:
        """The next packet, b"" when the peer has closed."""
        while True:
            try:
                return self._socket.recv(size)
            except BlockingIOError:
                await self._readable()
            except OSError:
                return b""

    async def send(self, data: bytes) -> bool:
        """Send one packet, waiting while the peer is slow; False if it is gone."""
        while True:
            try:
                self._socket.send(data, socket.MSG_NOSIGNAL)
                return True
            except BlockingIOError:
                await self._writable()
            except OSError:
                return False
