"""What a link depends on: lower devices and local addresses, also those in the data of its kind.

A vxlan has its lower device in IFLA_VXLAN_LINK, not in IFLA_LINK; a tunnel may be bound to an address, not a device.
linux/if_link.h, linux/if_tunnel.h.
"""

import struct
from typing import NamedTuple

from crishim.linux.netlink.links import Link
from crishim.linux.netlink.rtnetlink import table

PAIRED = frozenset({"veth", "netkit", "vxcan"})  # their IFLA_LINK is their peer, not a lower device
TUN_TYPE, TUN_LAYER3 = 3, 1  # IFLA_TUN_TYPE: IFF_TUN, of packets; a tap is one of frames, like any other device


class Form(NamedTuple):
    """Attribute numbers in a kind's IFLA_INFO_DATA."""

    links: tuple[int, ...] = ()
    addresses: tuple[int, ...] = ()
    metadata: int = 0  # "external": the routes and programs of others set the destination


_IP = Form((1,), (2,), 19)
_GRE = Form((1,), (6,), 18)
_VTI = Form((1,), (4,))
TUNNELS = {
    "vxlan": Form((3,), (4, 17), 25),
    "geneve": Form(metadata=6),
    "bareudp": Form(),
    "ipip": _IP,
    "sit": _IP,
    "ip6tnl": _IP,
    "gre": _GRE,
    "gretap": _GRE,
    "erspan": _GRE,
    "ip6gre": _GRE,
    "ip6gretap": _GRE,
    "ip6erspan": _GRE,
    "vti": _VTI,
    "vti6": _VTI,
    "xfrm": Form((1,), metadata=3),
    "amt": Form((4,), (6,)),
    "wireguard": Form(),
    "ovpn": Form(),
    "gtp": Form(),
    "ppp": Form(),
}
_OTHERS = {"hsr": Form((1, 2, 8))}


class Below(NamedTuple):
    """What a link depends on, in the namespace of IFLA_LINK_NETNSID, or the reader's."""

    links: frozenset[int]  # ifindexes
    addresses: frozenset[bytes]  # 4 or 16 bytes


NOTHING = Below(frozenset(), frozenset())


def below(link: Link) -> Below:
    if link.kind in PAIRED:
        return NOTHING
    form = TUNNELS.get(link.kind) or _OTHERS.get(link.kind) or Form()
    data = table(link.info)
    indexes = {struct.unpack("=I", data[k])[0] for k in form.links if len(data.get(k, b"")) == 4}
    if link.parent and (link.parent != link.index or link.parent_netns is not None):
        indexes.add(link.parent)
    addresses = {data[k] for k in form.addresses if any(data.get(k, b""))}
    return Below(frozenset(indexes - {0}), frozenset(addresses))


def is_tunnel(link: Link) -> bool:
    """Whether packets that are routed to it leave the node encapsulated: an overlay's device, a VPN's."""
    if link.kind == "tun":
        return table(link.info).get(TUN_TYPE, b"")[:1] == bytes([TUN_LAYER3])
    return link.kind in TUNNELS


def is_external(link: Link) -> bool:
    """Whether a tunnel is flow-based (external): routes and programs of other links use it."""
    form = TUNNELS.get(link.kind)
    value = table(link.info).get(form.metadata) if form is not None and form.metadata else None
    return value is not None and (not value or any(value))  # a flag, or vxlan's u8
