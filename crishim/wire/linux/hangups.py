"""Noticing that a peer hung up while nobody reads its socket. epoll(7), EPOLLRDHUP.

asyncio sees the end of a connection only by reading it. A connection whose reading is paused, because what came last
has not been used up, would keep its session alive after its client is gone. One more epoll instance that asks for
nothing but the hang-up tells at once, unless the peer's own data is still queued before it.
"""

import asyncio
import contextlib
import select
from collections.abc import Callable


class HangupWatch:
    """Watches sockets of the running loop. Close it when done."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._epoll.fileno(), self._report)

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call back once when the peer of this stream socket has closed its sending side, or is gone."""
        self._callbacks[fd] = callback
        self._epoll.register(fd, select.EPOLLRDHUP)

    def forget(self, fd: int) -> None:
        """Before the socket is closed; its number may be another's afterwards."""
        if self._callbacks.pop(fd, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)

    def close(self) -> None:
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _report(self) -> None:
        for fd, _ in self._epoll.poll(0):
            callback = self._callbacks.get(fd)
            self.forget(fd)
            if callback is not None:
                callback()
