"""Captures host links: everything that a move loses or that a pod could change. audit.py compares with it.

It must be done before any change: a rename relabels IPv4 addresses, bringing a link down drops its IPv6 addresses and
its routes. A dump that has all links is read once for all.
"""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from crishim.linux import devconf, device_files, multicast
from crishim.linux.netlink import (
    addresses,
    ethtool,
    link_attributes,
    links,
    neighbours,
    nexthops,
    queueing,
    routes,
)
from crishim.linux.netlink.links import Link
from crishim.linux.netns_thread import Netns
from crishim.netdev import bpf_programs, virtual_functions
from crishim.netdev.records import Captured


def capture(host: Netns, found: Sequence[Link]) -> dict[int, Captured]:
    """Read the links; the result is by ifindex. The thread joins the host's namespace.

    Raises OSError, ENODEV or ENOENT if one of the links is not there any more.
    """
    if not found:
        return {}
    host.enter()
    indexes = [link.index for link in found]
    tables = _Tables(
        neighbours.dump_ageing(host.netlink, indexes),
        addresses.dump_each(host.netlink, indexes),
        routes.dump_each(host.netlink, indexes),
        neighbours.dump_each(host.netlink, indexes),
        neighbours.dump_each_forwarding(host.netlink, indexes),
        multicast.filters(indexes),
        multicast.groups([link.name for link in found]),
        queueing.read_each(host.netlink, indexes),
        nexthops.dump_each(host.netlink, indexes),
    )
    return {link.index: _capture(host, link, tables) for link in found}


class _Tables(NamedTuple):
    """What dumps have of all the links, by ifindex; groups by name."""

    ageing: Mapping[int, tuple[neighbours.Ageing, ...]]
    addresses: Mapping[int, list[addresses.Address]]
    routes: Mapping[int, list[routes.Route]]
    entries: Mapping[int, tuple[neighbours.Neighbour, ...]]
    forwarding: Mapping[int, tuple[neighbours.Neighbour, ...]]
    filters: Mapping[int, tuple[bytes, ...]]
    groups: Mapping[str, frozenset[str]]
    queueing: Mapping[int, tuple[queueing.TcObject, ...]]
    nexthops: Mapping[int, tuple[nexthops.Nexthop, ...]]


def _capture(host: Netns, link: Link, tables: _Tables) -> Captured:
    index = link.index
    queued = tables.queueing[index]
    return Captured(
        index=index,
        name=link.name,
        altnames=link.altnames,
        kind=link.kind,
        mtu=link.mtu,
        mac=link.mac,
        flags=link.flags & links.IFF_KEPT,
        queue_length=link.queue_length,
        group=link.group,
        alias=link.alias,
        parent=link.parent,
        parent_netns=link.parent_netns,
        settings=devconf.parse(link.settings),
        ageing=tables.ageing[index],
        addresses=tuple(a for a in tables.addresses[index] if not a.is_automatic),
        routes=tuple(r for r in tables.routes[index] if not r.is_automatic),
        complete=True,
        taken=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        attributes=link_attributes.keep(link.attributes),
        tunings=ethtool.read(host.genetlink, index, link.kind),
        files=device_files.read(host.sysfs, link.name),
        sysctls=devconf.read_files(link.name),
        programs=bpf_programs.read(link, queued),
        entries=tables.entries[index] + tables.forwarding[index],
        multicast=tables.filters[index],
        groups=tables.groups[link.name],
        queueing=queued,
        nexthops=tables.nexthops[index],
        vf_settings=virtual_functions.read(host, link.name),
    )
