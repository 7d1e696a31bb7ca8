"""One client's TCP connection: reading and writing with backpressure, and noticing that it ended.

A connection ends in one of three ways, and each ends what is served over it: the client hangs up (noticed even while
nothing is read, see crishim/wire/linux/hangups.py), nothing moves for the idle time, or the server finishes it.
"""

import asyncio
import contextlib
import socket
import ssl

from crishim.wire.linux.hangups import HangupWatch

CHUNK = 64 * 1024  # bytes read at once
WRITE_BUFFER = 64 * 1024  # bytes that may wait in this process for a slow client
LINGER = 10.0  # seconds a client has, after our end, to close its side


class ConnectionEnded(Exception):
    """The client is gone or was idle for too long."""


class Connection:
    """Wraps the stream pair of one accepted connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hangups: HangupWatch, idle_timeout: float
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._hangups = hangups
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._idle_timeout = idle_timeout
        self._last_activity = self._loop.time()
        self._timer = self._loop.call_later(idle_timeout, self._check_idle)
        self._watched = hangups.watch(_prepare(writer), lambda: self._end("the client hung up"))

    async def read(self) -> bytes:
        """Some bytes. ConnectionEnded when there will be no more."""
        try:
            data = await self._reader.read(CHUNK)
        except (OSError, ssl.SSLError) as error:
            raise ConnectionEnded(str(error)) from error
        self._last_activity = self._loop.time()
        if not data:
            raise ConnectionEnded("the client hung up")
        return data

    async def write(self, data: bytes) -> None:
        """Hand bytes to the kernel, waiting while the client is slow. ConnectionEnded if it is gone."""
        if not data:
            return
        try:
            self._writer.write(data)
            await self._writer.drain()
        except (OSError, ssl.SSLError) as error:
            raise ConnectionEnded(str(error)) from error
        self._last_activity = self._loop.time()

    async def wait_ended(self) -> None:
        """Return never; ConnectionEnded as soon as the client hangs up or was idle for too long."""
        raise ConnectionEnded(await asyncio.shield(self._ended))

    async def finish(self) -> None:
        """Close after what was written has arrived.

        Closing a socket that holds unread data resets the connection, and a reset may overtake our last bytes. So our
        side is ended first, and the client's is read away until it closes, for at most LINGER seconds.
        """
        with contextlib.suppress(TimeoutError, OSError, ssl.SSLError):
            async with asyncio.timeout(LINGER):
                await self._writer.drain()
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                while await self._reader.read(CHUNK):
                    pass

    def abort(self) -> None:
        """Free everything at once. What was not written yet is lost; use finish() before where it matters."""
        self._timer.cancel()
        self._hangups.forget(self._watched)
        self._ended.cancel()
        self._writer.transport.abort()

    def _check_idle(self) -> None:
        left = self._last_activity + self._idle_timeout - self._loop.time()
        if left <= 0:
            self._end("nothing moved for too long")
        else:
            self._timer = self._loop.call_later(left, self._check_idle)

    def _end(self, why: str) -> None:
        if not self._ended.done():
            self._ended.set_result(why)


def _prepare(writer: asyncio.StreamWriter) -> int:
    """Bound the write buffer, let the kernel look for dead clients; the socket's number."""
    writer.transport.set_write_buffer_limits(high=WRITE_BUFFER)
    sock = writer.get_extra_info("socket")
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6), ("TCP_NODELAY", 1)):
        sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return int(sock.fileno())
