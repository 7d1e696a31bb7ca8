"""One client's TCP connection: read and write with backpressure, and detect its end.

A connection ends, and with it the session over it, when the client hangs up (detected even while nothing is read, see
crishim/linux/peer_close.py), when it was idle for the idle timeout, or when the server finishes it.
"""

import asyncio
import contextlib
import socket
import ssl
import traceback

from crishim.cri.stream.byte_stream import ByteStream
from crishim.cri.stream.fair_scheduler import Budget
from crishim.linux.peer_close import PeerCloseWatcher, Watched

LINGER = 10.0  # seconds a client has, after our end, to close its side


class ConnectionEnded(Exception):
    """The client is gone or was idle for too long."""


def release(error: BaseException) -> None:
    """Clear the locals of the frames in the tracebacks of an error, its causes and its group's members.

    The errors of tasks and groups refer to their frames and the frames to them, so a session's buffers would stay until
    the next garbage collection, which takes hours on an idle daemon.
    """
    left, seen = [error], set()
    while left:
        error = left.pop()
        if id(error) not in seen:
            seen.add(id(error))
            traceback.clear_frames(error.__traceback__)
            left += [e for e in (error.__cause__, error.__context__) if e is not None]
            left += error.exceptions if isinstance(error, BaseExceptionGroup) else ()


class Connection:
    """Wraps one accepted connection. budget: its share of the event loop (fair_scheduler.py)."""

    def __init__(
        self,
        stream: ByteStream,
        sock: socket.socket,
        peer_watcher: PeerCloseWatcher,
        idle_timeout: float,
        budget: Budget,
    ) -> None:
        self.budget = budget
        self._stream = stream
        self._peer_watcher = peer_watcher
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._idle_timeout = idle_timeout
        self._last_activity = self._loop.time()
        self._timer = self._loop.call_later(idle_timeout, self._check_idle)
        _prepare(sock)
        self._watched: Watched | None = peer_watcher.watch(sock.fileno(), lambda: self._end("the client hung up"))

    async def read(self) -> bytes:
        """The next bytes. Raises ConnectionEnded at the end."""
        try:
            data = await self._stream.read()
        except (OSError, ssl.SSLError) as error:
            raise ConnectionEnded(str(error)) from error
        self._last_activity = self._loop.time()
        if not data:
            raise ConnectionEnded("the client hung up")
        return data

    async def write(self, data: bytes) -> None:
        """Pass bytes to the kernel, waiting while the client is slow. Raises ConnectionEnded if it is gone."""
        if not data:
            return
        await self.budget.spend_on(data)
        try:
            await self._stream.write(data)
        except (OSError, ssl.SSLError) as error:
            raise ConnectionEnded(str(error)) from error
        self._last_activity = self._loop.time()

    async def wait_ended(self) -> None:
        """Never returns: raises ConnectionEnded as soon as the client hangs up or was idle for too long."""
        raise ConnectionEnded(await asyncio.shield(self._ended))

    async def finish(self) -> None:
        """Close after what was written has arrived.

        Closing a socket that holds unread data resets the connection, and a reset may overtake our last bytes. So our
        side is shut down first, and what the client sends is dropped until it closes, for at most LINGER seconds.
        """
        with contextlib.suppress(TimeoutError, OSError, ssl.SSLError):
            async with asyncio.timeout(LINGER):
                await self._stream.write_eof()
                while data := await self._stream.read():
                    await self.budget.spend_on(data)

    def abort(self) -> None:
        """Close at once and free everything. Data not written yet is lost; call finish() before to keep it."""
        self._timer.cancel()
        if self._watched is not None:
            self._peer_watcher.forget(self._watched)
            self._watched = None  # it refers back to us
        self._ended.cancel()
        self._stream.abort()

    def _check_idle(self) -> None:
        left = self._last_activity + self._idle_timeout - self._loop.time()
        if left <= 0:
            self._end("nothing moved for too long")
        else:
            self._timer = self._loop.call_later(left, self._check_idle)

    def _end(self, why: str) -> None:
        if not self._ended.done():
            self._ended.set_result(why)


def _prepare(sock: socket.socket) -> None:
    """Set TCP_NODELAY, and TCP keepalive to detect dead clients."""
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6), ("TCP_NODELAY", 1)):
        sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
