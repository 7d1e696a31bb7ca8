"""Host links as they are now, whole: read before anything is touched, and again after a return to see what differs.

The order matters: a rename relabels IPv4 addresses, bringing a link down drops its IPv6 addresses and its routes. What
a dump tells of all links is read once for all.
"""

import time
from collections.abc import Sequence

from crishim.netdev import programs
from crishim.netdev.records import Captured
from crishim.wire.linux import (
    addresses,
    devconf,
    device_files,
    ethtool,
    link_attributes,
    links,
    multicast,
    neighbour_entries,
    neighbours,
    nexthops,
    queueing,
    routes,
)
from crishim.wire.linux.links import Link
from crishim.wire.linux.netns_thread import End


def capture(host: End, found: Sequence[Link]) -> dict[int, Captured]:
    """Everything that a move loses or that a pod could change, by ifindex. The thread joins the host's namespace.

    Raises OSError, ENODEV or ENOENT if one of the links is not there any more.
    """
    if not found:
        return {}
    host.enter()
    ageing = neighbours.dump(host.netlink, [link.index for link in found])
    filters = multicast.filters([link.index for link in found])
    groups = multicast.groups([link.name for link in found])
    return {x.index: _capture(host, x, ageing[x.index], filters[x.index], groups[x.name]) for x in found}


def _capture(
    host: End, link: Link, ageing: tuple[neighbours.Ageing, ...], filters: tuple[bytes, ...], groups: frozenset[str]
) -> Captured:
    netlink, index = host.netlink, link.index
    queued = queueing.read(netlink, index)
    entries = neighbour_entries.dump(netlink, index) + neighbour_entries.dump_forwarding(netlink, index)
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
        ageing=ageing,
        addresses=tuple(a for a in addresses.dump(netlink, index) if not a.is_automatic),
        routes=tuple(r for r in routes.dump(netlink, index) if not r.is_automatic),
        complete=True,
        taken=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        attributes=link_attributes.keep(link.attributes),
        tunings=ethtool.read(host.genetlink, index, link.kind),
        files=device_files.read(host.sysfs, link.name),
        sysctls=devconf.read_files(link.name),
        programs=programs.read(link, queued),
        entries=entries,
        multicast=filters,
        groups=groups,
        queueing=queued,
        nexthops=nexthops.dump(netlink, index),
    )
