"""Reads what depends on host links that are to be moved, once for all of them: routes, addresses, upper devices (also
in other namespaces), virtual functions. link_checks.py decides.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from crishim.linux import device_tree, net_namespaces
from crishim.linux.device_tree import Function
from crishim.linux.netlink import links
from crishim.linux.netlink.addresses import IFA_ADDRESS, IFA_LOCAL, RTM_GETADDR, RTM_NEWADDR
from crishim.linux.netlink.links import Link
from crishim.linux.netlink.rtnetlink import DATAGRAM, Rtnetlink, table, text
from crishim.linux.netns_thread import Netns
from crishim.linux.stacking import PAIRED, below, is_tunnel
from crishim.netdev.host_routes import RouteUsage, read_routes

_IFADDR = struct.Struct("=BBBBI")  # struct ifaddrmsg
# Head of the attribute of links whose lower device or peer is in another namespace.
ELSEWHERE = struct.pack("=HH", 8, links.IFLA_LINK_NETNSID)
# Kinds that do not depend on it: the pods' eth0, of which there are many.
PAIR = tuple(text(links.IFLA_INFO_KIND, kind) for kind in sorted(PAIRED))


class LinkUsage(NamedTuple):
    """By ifindex of the candidates, unless said otherwise."""

    ways: RouteUsage = RouteUsage({}, {}, {}, frozenset())
    addresses: Mapping[int, frozenset[bytes]] = {}
    owners: Mapping[bytes, frozenset[int]] = {}  # ifindexes of all links, by address
    above: Mapping[int, str] = {}  # an upper device that the host's link messages do not show, and where it is
    functions: Mapping[int, Sequence[Function]] = {}


UNUSED = LinkUsage()


def read_usage(host: Netns, candidates: Sequence[Link]) -> LinkUsage:
    """Read what depends on the candidates. Raises OSError."""
    if not candidates:
        return UNUSED
    indexes = {link.index for link in candidates}
    owners: dict[bytes, set[int]] = {}
    for index, address in _addresses(host.netlink):
        owners.setdefault(address, set()).add(index)
    theirs = {address: held for address, held in owners.items() if held & indexes}
    tunnels = [link.index for link in candidates if is_tunnel(link)]
    ways = read_routes(host.netlink, indexes, tunnels, theirs)
    addresses = {i: frozenset(a for a, held in theirs.items() if i in held) for i in indexes}
    above = {**_in_sysfs(host, candidates), **_elsewhere(host, indexes, theirs)}
    functions = {link.index: device_tree.functions(host.sysfs, link.name) for link in candidates if not link.kind}
    return LinkUsage(ways, addresses, {a: frozenset(held) for a, held in owners.items()}, above, functions)


def _addresses(netlink: Rtnetlink) -> Iterator[tuple[int, bytes]]:
    for message in netlink.dump(RTM_GETADDR, bytes(_IFADDR.size)):
        if message.type == RTM_NEWADDR:
            fields = table(message.body[_IFADDR.size :])
            yield _IFADDR.unpack_from(message.body)[4], fields.get(IFA_LOCAL) or fields[IFA_ADDRESS]


def _in_sysfs(host: Netns, candidates: Sequence[Link]) -> dict[int, str]:
    found = {link.index: device_tree.uppers(host.sysfs, link.name) for link in candidates}
    return {index: names[0] for index, names in found.items() if names}


def _elsewhere(host: Netns, indexes: set[int], theirs: Mapping[bytes, set[int]]) -> dict[int, str]:
    """Upper devices in other namespaces, of a candidate or its address. The thread is in the host's afterwards."""
    found: dict[int, str] = {}
    buffer = bytearray(DATAGRAM)
    try:
        for place in net_namespaces.places(frozenset({host.inode})):
            bodies = net_namespaces.links_of(place, buffer, ELSEWHERE)
            for link in _from_host([b for b in bodies if not any(p in b for p in PAIR)], host):
                stands = below(link)
                held = [theirs[address] & indexes for address in stands.addresses & theirs.keys()]
                for index in (stands.links & indexes).union(*held):
                    found.setdefault(index, f"{link.name} in the network namespace of {place.title}")
    finally:
        host.enter()
    return found


def _from_host(near: Sequence[bytes], host: Netns) -> list[Link]:
    """Of the links of the thread's namespace, those whose lower device or address is in the host's."""
    if not near:
        return []
    with Rtnetlink() as netlink:
        number = net_namespaces.number(netlink, host.fd)
    found = map(links.parse, near)
    return [link for link in found if link.parent_netns is not None and link.parent_netns == number >= 0]
