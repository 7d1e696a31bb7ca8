"""Accepts connections; those without a valid token yet are limited, and the oldest is closed for a new one.

asyncio's server reports a TLS connection only after its handshake, and has no limit. Here a connection is pending from
accept(2) until its request had a valid token. When there are max_pending and one more comes, the oldest pending one is
closed. A real client sends its token within milliseconds, so the closed ones are those that only hold a connection.
"""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from typing import Any, Protocol

from crishim.cri.stream.byte_stream import ByteStream
from crishim.cri.stream.fair_scheduler import Budget
from crishim.cri.stream.http_upgrade import error_response

log = logging.getLogger(__name__)

REQUEST_TIMEOUT = 10.0  # seconds a connection has for its TLS handshake, and as many for its request
ACCEPT_PAUSE = 1.0  # seconds without accepting when the process has no descriptor left
ACCEPT, HANDSHAKE = 16, 128  # units of work (fair_scheduler.py)
TOO_MANY_PENDING = error_response(503, "too many connections wait here without a valid request", [("Retry-After", "1")])

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class PendingConnection:
    """A connection without a valid token yet."""

    def __init__(self, listener: "Listener", sock: socket.socket) -> None:
        self.sock = sock
        self.task: asyncio.Task[None] | None = None
        self._listener = listener

    def authorized(self) -> None:
        """Its request had a valid token: it is not pending any more."""
        self._listener.pending.pop(self, None)


class ConnectionHandler(Protocol):
    async def serve_connection(self, stream: ByteStream, pending: PendingConnection) -> None:
        """Serve one connection to its end; call pending.authorized() once its request had a valid token."""


class Listener:
    """The listening sockets and all connections' tasks."""

    def __init__(
        self, handler: ConnectionHandler, max_pending: int, budget: Budget, tls: ssl.SSLContext | None
    ) -> None:
        self.pending: dict[PendingConnection, None] = {}  # the oldest first
        self._handler = handler
        self._max_pending = max_pending
        self._budget = budget
        self._tls = tls
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[socket.socket, asyncio.Future[None]] = {}

    async def start(self, address: str, port: int) -> tuple[str, int]:
        """Listen on all addresses of a name; return the first one's address and port. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, where in dict.fromkeys(found):
                self._sockets.append(_listen(family, where))
        except OSError:
            await self.stop()
            raise
        self._accepting = [asyncio.create_task(self._accept(sock)) for sock in self._sockets]
        name: tuple[str, int] = self._sockets[0].getsockname()[:2]
        return name

    def start_on(self, sock: socket.socket) -> None:
        """Accept on a listening, non-blocking socket; the listener closes it."""
        self._sockets.append(sock)
        self._accepting.append(asyncio.create_task(self._accept(sock)))

    async def stop(self) -> None:
        """Accept no more, end every connection and wait until they are gone."""
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for sock in self._sockets:
            sock.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, listening: socket.socket) -> None:
        while True:
            await self._budget.spend(HANDSHAKE if self._tls else ACCEPT)
            try:
                sock = await self._next(listening)
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    log.error("cannot accept a streaming connection: %s", error.strerror)
                    await asyncio.sleep(ACCEPT_PAUSE)
                continue
            self._admit(sock)

    async def _next(self, listening: socket.socket) -> socket.socket:
        """Accept the next connection. Raises OSError of accept(2)."""
        while True:
            try:
                sock, _ = listening.accept()
            except BlockingIOError:
                await self._readable(listening)
            else:
                sock.setblocking(False)
                return sock

    async def _readable(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._waiting[listening] = ready = loop.create_future()
        loop.add_reader(listening, _settle, ready)
        try:
            await ready
        finally:
            del self._waiting[listening]
            loop.remove_reader(listening)

    def wait_anew(self) -> None:
        """Renew the futures that wait for connections, so that they move in memory (allocator_gaps.py)."""
        for ready in self._waiting.values():
            _settle(ready)

    def _admit(self, sock: socket.socket) -> None:
        while len(self.pending) >= self._max_pending:
            self._evict(next(iter(self.pending)))
        pending = PendingConnection(self, sock)
        self.pending[pending] = None
        pending.task = asyncio.create_task(self._run(pending))
        self._tasks.add(pending.task)
        pending.task.add_done_callback(self._tasks.discard)

    def _evict(self, pending: PendingConnection) -> None:
        """Free a connection's descriptor now, after a 503 unless it uses TLS."""
        del self.pending[pending]
        with contextlib.suppress(OSError):
            if not self._tls:
                pending.sock.send(TOO_MANY_PENDING)
            pending.sock.shutdown(socket.SHUT_RDWR)
        if pending.task is not None:
            pending.task.cancel()

    async def _run(self, pending: PendingConnection) -> None:
        stream = ByteStream()
        timeout = REQUEST_TIMEOUT if self._tls else None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: stream, pending.sock, ssl=self._tls, ssl_handshake_timeout=timeout,
                ssl_shutdown_timeout=timeout,
            )  # fmt: skip
            await self._handler.serve_connection(stream, pending)
        except (OSError, ssl.SSLError) as error:
            log.debug("a streaming connection did not come about: %s", error)
        finally:
            pending.authorized()
            stream.abort()
            pending.sock.close()  # asyncio has done it, unless the handshake failed


def _settle(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


def _listen(family: int, where: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)
        sock.listen(socket.SOMAXCONN)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
