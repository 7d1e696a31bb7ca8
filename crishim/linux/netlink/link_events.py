"""The kernel's notifications of link changes in one namespace (RTNLGRP_LINK of rtnetlink(7)), read by the event loop.

The kernel drops notifications for which the socket has no room (ENOBUFS): the listener is then called with None.
"""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

from crishim.linux import namespaces
from crishim.linux.netlink import links, rtnetlink
from crishim.linux.netlink.links import Link

RTNLGRP_LINK = 1
AT_ONCE = 64  # datagrams read in one iteration of the event loop: a flood must not block the rest
DATAGRAM = 1 << 18


class LinkEvents:
    """A socket in a namespace, for one event loop."""

    def __init__(
        self, netns: Path, listener: Callable[[Link | None], None], gone: Callable[[Link], None] = lambda _: None
    ) -> None:
        """Blocks briefly. listener: called with each link as it is after a change; None: some were missed.
        gone: called with a link, as it was, that has been deleted or moved to another namespace."""
        self._listener = listener
        self._gone = gone
        self._socket = namespaces.inside({"net": netns}, _open)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Listen, in the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)

    def close(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        for _ in range(AT_ONCE):
            try:
                datagram = self._socket.recv(DATAGRAM)
            except BlockingIOError:
                return
            except OSError:  # ENOBUFS
                self._listener(None)
                continue
            for kind, _, _, body in rtnetlink.split(datagram):
                if kind == links.RTM_NEWLINK:
                    self._listener(links.parse(body))
                elif kind == links.RTM_DELLINK:
                    self._gone(links.parse(body))


def _open() -> socket.socket:
    made = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
    )
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rtnetlink.RECEIVE_BUFFER)
        made.bind((0, 1 << (RTNLGRP_LINK - 1)))
    except OSError:
        made.close()
        raise
    return made
