"""Routes over a link, in every table, kept as the kernel wrote them; and all of a family's as unparsed messages, since
a router has many. rtnetlink(7)."""

import struct
from collections.abc import Collection, Iterator

import msgspec

from crishim.linux.netlink.links import AF_INET, AF_INET6
from crishim.linux.netlink.rtnetlink import (
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    Rtnetlink,
    attributes,
    join,
    number,
    table,
    u32,
)

RTM_NEWROUTE, RTM_GETROUTE = 24, 26
RTA_OIF, RTA_GATEWAY, RTA_MULTIPATH, RTA_CACHEINFO, RTA_TABLE, RTA_VIA, RTA_NH_ID = 4, 5, 9, 12, 15, 18, 30
RTA_EXPIRES = 23
RTPROT_REDIRECT, RTPROT_KERNEL, RTPROT_RA = 1, 2, 9
RTNH_F_ONLINK = 4
RTM_F_CLONED = 0x200
RT_TABLE_MAIN = 254
_BY_NEXTHOP = frozenset({RTA_OIF, RTA_GATEWAY, RTA_MULTIPATH, RTA_VIA, 21, 22})  # in its nexthop object instead; encap
TICKS = 100  # USER_HZ: units of rta_expires in a second

_HEADER = struct.Struct("=BBBBBBBBI")  # struct rtmsg: family, dst len, src len, tos, table, proto, scope, type, flags
HEADER = _HEADER.size
PREFIX, TYPE = 1, 7  # bytes in it
RTN_UNICAST, RTN_BROADCAST, RTN_ANYCAST, RTN_MULTICAST = 1, 3, 4, 5
_NEXTHOP = struct.Struct("=HBBi")  # struct rtnexthop: length, flags, hops, ifindex


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One route. header: struct rtmsg; attributes: those of RTM_NEWROUTE as read."""

    header: bytes
    attributes: bytes

    @property
    def family(self) -> int:
        return self.header[0]

    @property
    def table(self) -> int:
        value = table(self.attributes).get(RTA_TABLE)
        return self.header[4] if value is None else number(value)

    @property
    def is_automatic(self) -> bool:
        """Made by the kernel or by a router advertisement, which make it again with its address."""
        return self.header[5] in (RTPROT_REDIRECT, RTPROT_KERNEL, RTPROT_RA)

    @property
    def has_gateway(self) -> bool:
        return any(kind in (RTA_GATEWAY, RTA_VIA, RTA_MULTIPATH) for kind, _ in attributes(self.attributes))

    @property
    def uses_nexthop_object(self) -> bool:
        """Refers to a nexthop object, which the kernel removes with its link."""
        return any(kind == RTA_NH_ID for kind, _ in attributes(self.attributes))

    @property
    def links(self) -> set[int]:
        """Indexes of its outgoing links."""
        found = set()
        for kind, value in attributes(self.attributes):
            if kind == RTA_OIF:
                found.add(number(value))
            elif kind == RTA_MULTIPATH:
                found |= {hop[3] for hop, _ in _hops(value)}
        return found


def aged(route: Route, seconds: float) -> Route | None:
    """The route with its lifetime, if it has one, reduced by these seconds; None if it has expired."""
    value = table(route.attributes).get(RTA_CACHEINFO, b"")
    ticks = struct.unpack_from("=i", value, 8)[0] if route.family == AF_INET6 and len(value) >= 12 else 0
    if not ticks:
        return route
    left = ticks // TICKS - int(seconds)
    if left <= 0:
        return None
    items = [(k, v) for k, v in attributes(route.attributes) if k not in (RTA_CACHEINFO, RTA_EXPIRES)]
    return msgspec.structs.replace(route, attributes=join([*items, (RTA_EXPIRES, struct.pack("=I", left))]))


def _hops(value: bytes) -> list[tuple[tuple[int, int, int, int], bytes]]:
    found, offset = [], 0
    while offset + 8 <= len(value):
        hop = _NEXTHOP.unpack_from(value, offset)
        if hop[0] < 8:
            break
        found.append((hop, value[offset + 8 : offset + hop[0]]))
        offset += hop[0] + 3 & ~3
    return found


def dump(netlink: Rtnetlink, index: int = 0) -> list[Route]:
    """Routes of both families and every table, in the kernel's order; with index those over that link only."""
    found = []
    for family in (AF_INET, AF_INET6):
        body = _HEADER.pack(family, 0, 0, 0, 0, 0, 0, 0, 0) + (u32(RTA_OIF, index) if index else b"")
        for message in netlink.dump(RTM_GETROUTE, body):
            if message.type != RTM_NEWROUTE or _HEADER.unpack_from(message.body)[8] & RTM_F_CLONED:
                continue
            route = Route(header=message.body[: _HEADER.size], attributes=message.body[_HEADER.size :])
            if not index or index in route.links or route.uses_nexthop_object:
                found.append(route)
    return found


def dump_each(netlink: Rtnetlink, indexes: Collection[int]) -> dict[int, list[Route]]:
    """dump() of each of several links; one dump for all if routes have their links."""
    if len(indexes) > 1:
        found: dict[int, list[Route]] = {index: [] for index in indexes}
        every = dump(netlink)
        for route in every:
            for index in route.links & found.keys():
                found[index].append(route)
        if all(route.links for route in every if route.uses_nexthop_object):
            return found
    return {index: dump(netlink, index) for index in indexes}  # net.ipv4.nexthop_compat_mode = 0 hides them


def bodies(netlink: Rtnetlink, family: int, index: int = 0) -> Iterator[bytes]:
    """Messages of every table; with index those that the kernel selects as over that link. Raises OSError."""
    request = bytes([family]) + bytes(HEADER - 1) + (u32(RTA_OIF, index) if index else b"")
    for message in netlink.dump(RTM_GETROUTE, request):
        if message.type == RTM_NEWROUTE and not struct.unpack_from("=I", message.body, 8)[0] & RTM_F_CLONED:
            yield message.body


def read(body: bytes) -> Route:
    return Route(header=body[:HEADER], attributes=body[HEADER:])


def add(netlink: Rtnetlink, route: Route, replaced: dict[int, int]) -> None:
    """Add a route as it was read; replaced maps link indexes that changed. Raises OSError: EEXIST, ENETUNREACH, ...

    When one of several links of an IPv6 route goes, the kernel removes only the hops over it; they are then added to
    the rest. Of an IPv4 route it removes all.
    """
    try:
        _send(netlink, route, replaced, NLM_F_EXCL, None)
    except FileExistsError:
        if route.family != AF_INET6 or route.uses_nexthop_object or not route.links - set(replaced):
            raise
        _send(netlink, route, replaced, NLM_F_APPEND, set(replaced))


def _send(netlink: Rtnetlink, route: Route, replaced: dict[int, int], how: int, only: set[int] | None) -> None:
    items = []
    for kind, value in attributes(route.attributes):
        if kind == RTA_CACHEINFO or (route.uses_nexthop_object and kind in _BY_NEXTHOP):
            continue
        if kind == RTA_OIF:
            (index,) = struct.unpack("=I", value)
            value = struct.pack("=I", replaced.get(index, index))
        elif kind == RTA_MULTIPATH:
            hops = [(hop, inner) for hop, inner in _hops(value) if only is None or hop[3] in only]
            value = b"".join(
                _NEXTHOP.pack(hop[0], hop[1] & RTNH_F_ONLINK, hop[2], replaced.get(hop[3], hop[3]))
                + inner
                + bytes(-len(inner) % 4)
                for hop, inner in hops
            )
        items.append((kind, value))
    fields = list(_HEADER.unpack(route.header))
    fields[8] &= RTNH_F_ONLINK  # the others tell a state (dead, linkdown, offloaded)
    netlink.request(RTM_NEWROUTE, _HEADER.pack(*fields) + join(items), NLM_F_CREATE | how)
