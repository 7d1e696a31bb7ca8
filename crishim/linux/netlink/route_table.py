"""A family's routes as the kernel writes them, unread: a router has many, and few of them matter. rtnetlink(7).

struct rtmsg: family, destination and source prefix lengths, tos, table, protocol, scope, type, flags; then attributes.
"""

import struct
from collections.abc import Iterator

from crishim.linux.netlink.routes import RTA_OIF, RTM_F_CLONED, RTM_GETROUTE, RTM_NEWROUTE, Route
from crishim.linux.netlink.rtnetlink import Rtnetlink, u32

HEADER = 12  # bytes of struct rtmsg
PREFIX, TYPE = 1, 7  # bytes in it
RTN_UNICAST, RTN_BROADCAST, RTN_ANYCAST, RTN_MULTICAST = 1, 3, 4, 5


def bodies(netlink: Rtnetlink, family: int, index: int = 0) -> Iterator[bytes]:
    """Messages of every table; with index those of routes over that link, as the kernel sees it. Raises OSError."""
    request = bytes([family]) + bytes(HEADER - 1) + (u32(RTA_OIF, index) if index else b"")
    for message in netlink.dump(RTM_GETROUTE, request):
        if message.type == RTM_NEWROUTE and not struct.unpack_from("=I", message.body, 8)[0] & RTM_F_CLONED:
            yield message.body


def read(body: bytes) -> Route:
    return Route(header=body[:HEADER], attributes=body[HEADER:])
