"""Which of the host's routes depend on links that are to be moved: default routes, tunnels' routes, source addresses.

One dump of each family, with every table: policy rules select the table, and a rule may be added later.
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
# Longest prefixes that count as a default route: VPNs use 0/1 and 128/1 in its place, or longer ones that leave out a
# few networks; 2000::/3 is all global unicast IPv6.
WIDE = {AF_INET: 7, AF_INET6: 3}
MULTICAST = {AF_INET: 0xE0, AF_INET6: 0xFF}  # first byte: 224.0.0.0/4, ff00::/8


class RouteUsage(NamedTuple):
    """Routes as text: "the default in table 100", "10.9.0.0/16 in table main"."""

    wide: Mapping[int, str]  # by ifindex: a default route, or one as wide (WIDE)
    tunnelled: Mapping[int, str]  # by ifindex of a tunnel: a route that the kernel did not make
    borrowing: Mapping[bytes, tuple[str, frozenset[int]]]  # by source address: a route over links without that address
    sources: frozenset[bytes]  # addresses that wide routes use as source


def read_routes(
    netlink: Rtnetlink, candidates: Collection[int], tunnels: Collection[int], owners: Mapping[bytes, set[int]]
) -> RouteUsage:
    """Read the routes. candidates: ifindexes to be moved; tunnels: those of them that are tunnels. Raises OSError.

    owners: by address of the candidates, the ifindexes that have it.
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
    return RouteUsage(wide, tunnelled, borrowing, frozenset(sources))


def _may_borrow(body: bytes, owners: Collection[bytes]) -> bool:
    """Whether a route may have one of these addresses as source: a search of its bytes, before it is parsed."""
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
    """Whether a route is a default route or as wide (WIDE), and not for multicast, anycast or broadcast."""
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
