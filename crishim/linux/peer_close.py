"""Detects that a peer has closed its connection while the socket is not read. epoll(7), EPOLLRDHUP.

asyncio detects the end of a connection only by reading. While reading is paused, because earlier data is not consumed
yet, a session would outlive its client. A second epoll instance with EPOLLRDHUP only reports it at once, unless data of
the peer is still queued before it.
"""

import asyncio
import contextlib
import select
from collections.abc import Callable
from typing import NamedTuple


class Watched(NamedTuple):
    fd: int
    callback: Callable[[], None]


class PeerCloseWatcher:
    """Watches sockets of the running loop. Close it when done."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Watched] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._epoll.fileno(), self._report)

    def watch(self, fd: int, callback: Callable[[], None]) -> Watched:
        """Call back once when the peer of this stream socket has closed its sending side, or is gone."""
        watched = self._watched[fd] = Watched(fd, callback)
        self._epoll.register(fd, select.EPOLLRDHUP)
        return watched

    def forget(self, watched: Watched) -> None:
        """Cancel the callback. If the socket is closed and another has its number, that one stays watched."""
        if self._watched.get(watched.fd) is watched:
            del self._watched[watched.fd]
            with contextlib.suppress(OSError):
                self._epoll.unregister(watched.fd)

    def close(self) -> None:
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _report(self) -> None:
        for fd, _ in self._epoll.poll(0):
            watched = self._watched.get(fd)
            if watched is not None:
                self.forget(watched)
                watched.callback()
