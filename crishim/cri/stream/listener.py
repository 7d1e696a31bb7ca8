"""Accepting connections: each is counted from its first packet on, and those that show no token give way to new ones.

asyncio's server tells of a TLS connection only when its handshake is complete, and counts none. Here a connection is a
stranger until its request has named a token. There is room for so many strangers; when one more comes, the one that has
been one for longest is turned away. A client that means something says so within milliseconds, so those that are turned
away are the ones that sit and wait.
"""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from crishim.cri.stream.byte_stream import ByteStream
from crishim.cri.stream.http_upgrade import refusal
from crishim.cri.stream.pace import Share

log = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds a stranger has for its TLS handshake, and as many for its request
PAUSE = 1.0  # seconds without accepting when the process has no descriptor left
ACCEPT, HANDSHAKE = 16, 128  # units of work (pace.py)
TURNED_AWAY = refusal(503, "too many connections wait here without a valid request", [("Retry-After", "1")])

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Stranger:
    """A connection without a token."""

    def __init__(self, listener: "Listener", sock: socket.socket) -> None:
        self.sock = sock
        self.task: asyncio.Task[None] | None = None
        self._listener = listener

    def welcome(self) -> None:
        """It has shown a token: it is none any more."""
        self._listener.strangers.pop(self, None)


Served = Callable[[ByteStream, Stranger], Awaitable[None]]


class Listener:
    """The listening sockets and all connections' tasks. serve: serves one connection to its end."""

    def __init__(self, serve: Served, most_strangers: int, share: Share, tls: ssl.SSLContext | None) -> None:
        self.strangers: dict[Stranger, None] = {}  # the oldest first
        self._serve = serve
        self._most = most_strangers
        self._share = share
        self._tls = tls
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, address: str, port: int) -> tuple[str, int]:
        """Listen on all addresses of a name; the first one's address and port. OSError."""
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
        loop = asyncio.get_running_loop()
        while True:
            await self._share.spend(HANDSHAKE if self._tls else ACCEPT)
            try:
                sock, _ = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    log.error("cannot accept a streaming connection: %s", error.strerror)
                    await asyncio.sleep(PAUSE)
                continue
            self._admit(sock)

    def _admit(self, sock: socket.socket) -> None:
        while len(self.strangers) >= self._most:
            self._turn_away(next(iter(self.strangers)))
        stranger = Stranger(self, sock)
        self.strangers[stranger] = None
        stranger.task = asyncio.create_task(self._run(stranger))
        self._tasks.add(stranger.task)
        stranger.task.add_done_callback(self._tasks.discard)

    def _turn_away(self, stranger: Stranger) -> None:
        """Free a stranger's descriptor now, and tell it why if it can be told in the clear."""
        del self.strangers[stranger]
        with contextlib.suppress(OSError):
            if not self._tls:
                stranger.sock.send(TURNED_AWAY)
            stranger.sock.shutdown(socket.SHUT_RDWR)
        if stranger.task is not None:
            stranger.task.cancel()

    async def _run(self, stranger: Stranger) -> None:
        stream = ByteStream()
        timeout = PATIENCE if self._tls else None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: stream, stranger.sock, ssl=self._tls, ssl_handshake_timeout=timeout,
                ssl_shutdown_timeout=timeout,
            )  # fmt: skip
            await self._serve(stream, stranger)
        except (OSError, ssl.SSLError) as error:
            log.debug("a streaming connection did not come about: %s", error)
        finally:
            stranger.welcome()
            stream.abort()
            stranger.sock.close()  # asyncio has done it, unless the handshake failed


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
