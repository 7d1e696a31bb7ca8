"""What the host's routes say of links that are to be given away: the node's own way out, and what else hangs on them.

One dump of each family, in every table: which table a packet ends up in is for the policy rules to say, and a rule may
be made a moment later.
"""

import ipaddress
import struct
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from crishim.linux.netlink import routes
from crishim.linux.netlink.links import AF_INET, AF_INET6
from crishim.linux.netlink.routes import (
    PREFIX,
    RT_TABLE_MAIN,
    RTN_ANYCAST,
    RTN_BROADCAST,
    RTN_MULTICAST,
    RTN_UNICAST,
    TYPE,
    Route,
)
from crishim.linux.netlink.rtnetlink import Rtnetlink, table

RTA_DST, RTA_PREFSRC = 1, 7
# The longest prefixes as wide as a default route: 0/1 and 128/1 stand in its place, or what a VPN makes of it to spare
# a few networks; 2000::/3 is all of IPv6 that is routed.
WIDE = {AF_INET: 7, AF_INET6: 3}
MULTICAST = {AF_INET: 0xE0, AF_INET6: 0xFF}  # first byte: 224.0.0.0/4, ff00::/8


class Ways(NamedTuple):
    """Routes in words: "default in table 100", "10.9.0.0/16 in table main"."""

    wide: Mapping[int, str]  # by ifindex: one that takes a good part of all traffic
    tunnelled: Mapping[int, str]  # by ifindex of a tunnel: one that somebody made
    borrowing: Mapping[bytes, tuple[str, frozenset[int]]]  # by source address: one over links that do not have it
    sources: frozenset[bytes]  # addresses that wide routes use as source


def survey(
    netlink: Rtnetlink, candidates: Collection[int], tunnels: Collection[int], owners: Mapping[bytes, set[int]]
) -> Ways:
    """Read the routes, with an eye on candidates and, of them, tunnels. Raises OSError.

    owners: the ifindexes that have an address, of the candidates' addresses.
    """
    wide: dict[int, str] = {}
    tunnelled: dict[int, str] = {}
    borrowing: dict[bytes, tuple[str, frozenset[int]]] = {}
    sources: set[bytes] = set()
    for family in (AF_INET, AF_INET6):
        hidden: list[tuple[bytes, Route]] = []  # net.ipv4.nexthop_compat_mode = 0: nexthop objects hide the links
        for body in routes.bodies(netlink, family):
            if body[PREFIX] > WIDE[family] and not tunnels and not _may_borrow(body, owners):
                continue
            route = routes.read(body)
            source, links = table(route.attributes).get(RTA_PREFSRC, b""), route.links
            if route.uses_nexthop_object and not links:
                hidden.append((source, route))
            if is_wide(route):
                _note(wide, links, route)
                sources |= {source} - {b""}
            if body[TYPE] == RTN_UNICAST and not route.is_automatic:
                _note(tunnelled, links & set(tunnels), route)
            if body[TYPE] == RTN_UNICAST and source in owners and links and not links & owners[source]:
                borrowing.setdefault(source, (words(route), frozenset(links)))
        over = {i: [routes.read(b) for b in routes.bodies(netlink, family, i)] for i in candidates if hidden}
        for index, found in over.items():
            for route in filter(is_wide, found):
                _note(wide, (index,), route)
        for source, route in hidden:
            if source in owners and not any(route in over.get(i, ()) for i in owners[source]):
                borrowing.setdefault(source, (words(route), frozenset()))
    return Ways(wide, tunnelled, borrowing, frozenset(sources))


def _may_borrow(body: bytes, owners: Collection[bytes]) -> bool:
    """Whether one of these addresses may be the source of a route, before it is read."""
    size = 4 if body[0] == AF_INET else 16
    head = struct.pack("=HH", 4 + size, RTA_PREFSRC)
    at = body.find(head)
    while at >= 0:
        if body[at + 4 : at + 4 + size] in owners:
            return True
        at = body.find(head, at + 1)
    return False


def _note(found: dict[int, str], links: Iterable[int], route: Route) -> None:
    for index in links:
        found.setdefault(index, words(route))


def is_wide(route: Route) -> bool:
    """Whether a route takes a good part of all traffic, and is not for multicast or broadcast."""
    prefix, kind = route.header[PREFIX], route.header[TYPE]
    if prefix > WIDE[route.family] or kind in (RTN_BROADCAST, RTN_ANYCAST, RTN_MULTICAST):
        return False
    return not prefix or _destination(route).network_address.packed[0] < MULTICAST[route.family]


def words(route: Route) -> str:
    table = "main" if route.table == RT_TABLE_MAIN else route.table
    if route.header[PREFIX]:
        return f"{_destination(route)} in table {table}"
    return f"the {'IPv6 ' if route.family == AF_INET6 else ''}default in table {table}"


def _destination(route: Route) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    value = table(route.attributes).get(RTA_DST, b"")
    size = 4 if route.family == AF_INET else 16
    return ipaddress.ip_network((value.ljust(size, b"\0"), route.header[PREFIX]), strict=False)
