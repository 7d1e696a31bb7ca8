"""A connected, non-blocking socket in the event loop: what byte_sockets.py and seqpacket.py share. socket(7)."""

import asyncio
import contextlib
import socket
from collections.abc import Callable


class AsyncSocket:
    """Owns the socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._loop = asyncio.get_running_loop()

    def shutdown(self) -> None:
        """End our sending side."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()

    async def _readable(self) -> None:
        await self._ready(self._loop.add_reader, self._loop.remove_reader)

    async def _writable(self) -> None:
        await self._ready(self._loop.add_writer, self._loop.remove_writer)

    async def _ready(
        self, add: Callable[[socket.socket, Callable[[], None]], None], remove: Callable[[socket.socket], bool]
    ) -> None:
        ready = self._loop.create_future()
        add(self._socket, lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            remove(self._socket)
