"""A connected stream socket in the event loop, without a buffer of our own: what is not asked for stays in the kernel,
whose sender then waits. The counterpart of packets.py for SOCK_STREAM.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable


class ByteSocket:
    """Owns a connected, non-blocking socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.ended = False  # take() has met the end
        self._socket = connection
        self._loop = asyncio.get_running_loop()

    async def readable(self) -> None:
        """Wait until take() has something to say."""
        await self._ready(self._loop.add_reader, self._loop.remove_reader)

    def take(self, size: int) -> bytes:
        """Bytes that have come, at most `size`; b"" if there are none, or at the end: then `ended` is set."""
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
                await self._ready(self._loop.add_writer, self._loop.remove_writer)
            except OSError:
                return False
        return True

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
