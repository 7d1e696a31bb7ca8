"""Monitors the links of a pod's namespace by pyroute2's AsyncIPRoute over a socket made there, with bounded work,
whatever the pod's processes do.

pyroute2 opens a socket in another namespace by forking, has an unbounded queue and parses each message on the event
loop (0.3 ms). So the socket is ours (its namespace is that of the thread that made it), and only the newest message of
each link is kept until take(). After too many changes the monitor closes: its owner reads the links and opens another
monitor.
"""

import contextlib
import socket
import struct
from collections.abc import Callable
from typing import NamedTuple

RTNLGRP_LINK = 1
NLMSG_ERROR = 2
BUFFER = 1 << 17  # bytes the kernel holds for us, about 60 notifications; what does not fit is ENOBUFS
MOST_DATAGRAMS = 64  # between two take()
MOST_LINKS = 16  # whose newest notification is kept
_HEAD = struct.Struct("=IHHIIBxHi")  # struct nlmsghdr, and of struct ifinfomsg the family, type and index


class LinkChange(NamedTuple):
    """A link's newest notification."""

    ifindex: int
    is_gone: bool = False  # from the namespace
    was_moved: bool = False  # to another one; else it was deleted


def load() -> None:
    """Import pyroute2: 0.4 s of CPU and 10 MB. Call it in a thread, before the first monitor is made."""
    import pyroute2  # noqa: F401


def open_socket() -> socket.socket:
    """A socket that receives each change of the links in the calling thread's network namespace. Raises OSError."""
    made = socket.socket(
        socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
    )
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        made.bind((0, 1 << (RTNLGRP_LINK - 1)))
    except OSError:
        made.close()
        raise
    return made


class LinkMonitor:
    """Receives in the running event loop from start() on.

    missed: some notifications were missed, and it is closed. Read the links, and make another monitor.
    """

    def __init__(self, made: socket.socket, wake: Callable[[], None]) -> None:
        """made: by open_socket(); closed with this. wake: called when there are changes to take."""
        from pyroute2 import AsyncIPRoute

        self._wake = wake
        self._datagrams = 0
        self._newest: dict[int, bytes] = {}  # by ifindex
        self._is_starting = self._is_closed = False
        self.missed = False
        self._socket = made
        self._route = AsyncIPRoute(use_socket=made)
        self._route.enqueue = self._note  # in place of its unbounded queue

    async def start(self) -> None:
        self._is_starting = True
        try:
            await self._route.setup_endpoint()
        finally:
            self._is_starting = False
            if self._is_closed:
                self.close()

    def close(self) -> None:
        """Idempotent. While start() waits, asyncio owns the transport: it is then closed at the end of start()."""
        self._wake = _nothing
        self._is_closed = True
        if self._is_starting:
            return
        self._route.close()
        self._socket.close()

    def take(self) -> list[LinkChange]:
        """What has changed since the last take()."""
        newest, self._newest, self._datagrams = self._newest, {}, 0
        return [change for datagram in newest.values() for change in self._parse(datagram)]

    def _parse(self, datagram: bytes) -> list[LinkChange]:
        """Empty for what pyroute2 cannot parse: names and aliases in it are a pod's. The links are read anyhow."""
        found: list[LinkChange] = []
        with contextlib.suppress(Exception):
            for message in self._route.marshal.parse(datagram, 0):
                is_gone = message["event"] == "RTM_DELLINK"
                was_moved = message.get_attr("IFLA_NEW_NETNSID") is not None
                found.append(LinkChange(message["index"], is_gone, is_gone and was_moved))
        return found

    def _note(self, datagram: bytes, _sender: object) -> None:
        """Take a datagram; pyroute2 passes the socket's errors as an NLMSG_ERROR message."""
        self._datagrams += 1
        index = kind = 0
        if len(datagram) >= _HEAD.size:
            _, kind, _, _, _, _, _, index = _HEAD.unpack_from(datagram)
        if kind == NLMSG_ERROR or self._datagrams > MOST_DATAGRAMS:
            wake = self._wake
            self.missed = True
            self.close()
            wake()
            return
        if index in self._newest or len(self._newest) < MOST_LINKS:
            self._newest[index] = datagram
        self._wake()


def _nothing() -> None:
    """The callback of a closed monitor."""
