"""A host link as it is now, whole: read before anything is touched.

The order matters: a rename relabels IPv4 addresses, bringing a link down drops its IPv6 addresses and its routes.
"""

from crishim.netdev.records import Captured
from crishim.wire.linux import addresses, devconf, links, routes
from crishim.wire.linux.links import Link
from crishim.wire.linux.neighbours import Ageing
from crishim.wire.linux.rtnetlink import Rtnetlink


def capture(netlink: Rtnetlink, link: Link, ageing: tuple[Ageing, ...]) -> Captured:
    """Everything that a move loses or that a pod could change. Raises OSError.

    ageing: of neighbours.dump, which is read once for all links.
    """
    return Captured(
        index=link.index,
        name=link.name,
        altnames=link.altnames,
        kind=link.kind,
        mtu=link.mtu,
        mac=link.mac,
        flags=link.flags & links.IFF_KEPT,
        queue_length=link.queue_length,
        group=link.group,
        alias=link.alias,
        xdp=link.xdp,
        parent=link.parent,
        parent_netns=link.parent_netns,
        settings=devconf.parse(link.settings),
        ageing=ageing,
        addresses=tuple(a for a in addresses.dump(netlink, link.index) if not a.is_automatic),
        routes=tuple(r for r in routes.dump(netlink, link.index) if not r.is_automatic),
    )
