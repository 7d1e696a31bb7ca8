"""A connected stream socket in the event loop, without a buffer of ours: what is not read stays in the kernel, and the
sender waits. The counterpart of seqpacket.py for SOCK_STREAM.
"""

import socket

from crishim.linux.async_sockets import AsyncSocket


class ByteSocket(AsyncSocket):
    """Owns a connected, non-blocking socket."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self.ended = False  # take() has read the end

    async def readable(self) -> None:
        """Wait until there are bytes to take, or the end."""
        await self._readable()

    def take(self, size: int) -> bytes:
        """Received bytes, at most `size`; b"" if there are none, or at the end: then `ended` is set."""
        try:
            data = self._socket.recv(size)
        except BlockingIOError:
            return b""
        except OSError:  # reset by the peer
            data = b""
        self.ended = not data
        return data

    async def send(self, data: bytes) -> bool:
        """Send all, waiting while the peer is slow; False if it is gone."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._socket.send(rest, socket.MSG_NOSIGNAL) :]
            except BlockingIOError:
                await self._writable()
            except OSError:
                return False
        return True
