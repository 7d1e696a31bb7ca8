"""Network links: read, rename, bring up, move to another namespace. rtnetlink(7), linux/if_link.h.

Attribute numbers are the kernel's. A link message carries both address families' per-device settings (devconf.py).
"""

import os
import struct
import sys
from collections.abc import Iterable

import msgspec

from crishim.linux.netlink.rtnetlink import Rtnetlink, attribute, attributes, nested, number, table, text, u32

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWLINKPROP, RTM_DELLINKPROP = 108, 109
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_TXQLEN = 1, 3, 4, 5, 10, 13
IFLA_LINKINFO, IFLA_IFALIAS, IFLA_AF_SPEC, IFLA_GROUP, IFLA_NET_NS_FD, IFLA_EXT_MASK = 18, 20, 26, 27, 28, 29
IFLA_LINK_NETNSID, IFLA_XDP, IFLA_NEW_IFINDEX, IFLA_PROP_LIST, IFLA_ALT_IFNAME, IFLA_NETNS_IMMUTABLE = (
    37,
    43,
    49,
    52,
    53,
    67,
)
IFLA_PHYS_PORT_NAME, IFLA_PERM_ADDRESS, IFLA_PARENT_DEV_NAME, IFLA_PARENT_DEV_BUS_NAME = 38, 54, 56, 57
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
IFLA_INET_CONF = 1
IFLA_INET6_CONF, IFLA_INET6_TOKEN, IFLA_INET6_ADDR_GEN_MODE = 2, 7, 8
RTEXT_FILTER_SKIP_STATS = 8
AF_INET, AF_INET6 = 2, 10

IFF_UP, IFF_LOOPBACK = 0x1, 0x8
IFF_LOWER_UP = 0x10000
# What a user may set: UP, DEBUG, NOTRAILERS, NOARP, PROMISC, ALLMULTI, MULTICAST, PORTSEL, AUTOMEDIA, DYNAMIC.
IFF_KEPT = 0x1 | 0x4 | 0x20 | 0x80 | 0x100 | 0x200 | 0x1000 | 0x2000 | 0x4000 | 0x8000

_INFO = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change mask
_NO_STATISTICS = u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
ENCODING = sys.getfilesystemencoding()  # of names: os.fsdecode() takes four times as long
NAME_LIMIT = 15  # bytes: IFNAMSIZ without the final NUL


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A link as the kernel describes it to one namespace."""

    index: int
    name: str
    altnames: tuple[str, ...] = ()
    kind: str = ""  # veth, macvlan, bridge, ...; "" for hardware and lo
    flags: int = 0  # IFF_*
    mtu: int = 0
    mac: bytes = b""
    queue_length: int = 0
    group: int = 0
    alias: str = ""
    master: int = 0  # ifindex of the bridge or bond it is in
    parent: int = 0  # ifindex of the lower device (IFLA_LINK); a veth's peer, too
    parent_netns: int | None = None  # nsid of the parent's namespace in the reader's; None: the reader's own
    immovable: bool = False  # IFLA_NETNS_IMMUTABLE
    xdp: bytes = b""  # IFLA_XDP, for xdp.parse
    settings: bytes = b""  # IFLA_AF_SPEC, for devconf.parse
    info: bytes = b""  # IFLA_INFO_DATA, of its kind: for stacking.py
    attributes: bytes = b""  # all of them, for link_attributes.py
    permanent_mac: bytes = b""  # of hardware
    bus: str = ""  # of hardware: "pci"
    bus_device: str = ""  # its place on that bus: "0000:03:00.0"
    port: str = ""  # of a device with several: "p0"

    @property
    def is_up(self) -> bool:
        return bool(self.flags & IFF_UP)

    @property
    def has_carrier(self) -> bool:
        return bool(self.flags & IFF_LOWER_UP)

    @property
    def names(self) -> tuple[str, ...]:
        """Its name and altnames, which are unique among all names and altnames of a namespace."""
        return (self.name, *self.altnames)


def _string(value: bytes) -> str:
    return value.rstrip(b"\0").decode(ENCODING, "surrogateescape")


def parse(body: bytes) -> Link:
    """A Link from the body of an RTM_NEWLINK message."""
    _, _, index, flags, _ = _INFO.unpack_from(body)
    behind = body[_INFO.size :]
    found = table(behind)
    get = found.get
    netns = get(IFLA_LINK_NETNSID)
    info = table(get(IFLA_LINKINFO, b""))
    properties = get(IFLA_PROP_LIST)
    return Link(
        index=index,
        name=_string(get(IFLA_IFNAME, b"")),
        altnames=tuple([_string(v) for k, v in attributes(properties) if k == IFLA_ALT_IFNAME]) if properties else (),
        kind=_string(info.get(IFLA_INFO_KIND, b"")),
        flags=flags,
        mtu=number(get(IFLA_MTU, b"")),
        mac=get(IFLA_ADDRESS, b""),
        queue_length=number(get(IFLA_TXQLEN, b"")),
        group=number(get(IFLA_GROUP, b"")),
        alias=_string(get(IFLA_IFALIAS, b"")),
        master=number(get(IFLA_MASTER, b"")),
        parent=number(get(IFLA_LINK, b"")),
        parent_netns=None if netns is None else int.from_bytes(netns[:4], sys.byteorder, signed=True),
        immovable=get(IFLA_NETNS_IMMUTABLE, b"")[:1] == b"\1",
        xdp=get(IFLA_XDP, b""),
        settings=get(IFLA_AF_SPEC, b""),
        info=info.get(IFLA_INFO_DATA, b""),
        attributes=behind,
        permanent_mac=get(IFLA_PERM_ADDRESS, b""),
        bus=_string(get(IFLA_PARENT_DEV_BUS_NAME, b"")),
        bus_device=_string(get(IFLA_PARENT_DEV_NAME, b"")),
        port=_string(get(IFLA_PHYS_PORT_NAME, b"")),
    )


def header(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    """struct ifinfomsg of a request: the link, and the flags to change."""
    return _INFO.pack(0, 0, index, flags, change)


EVERY = header() + _NO_STATISTICS  # of RTM_GETLINK, for a dump


def dump(netlink: Rtnetlink) -> list[Link]:
    """Every link of the namespace."""
    return [parse(m.body) for m in netlink.dump(RTM_GETLINK, EVERY) if m.type == RTM_NEWLINK]


def get(netlink: Rtnetlink, key: int | str) -> Link | None:
    """The link of an ifindex, name or altname; None if there is none."""
    body = _get(netlink, key)
    return None if body is None else parse(body)


def index_of(netlink: Rtnetlink, key: int | str) -> int:
    """The ifindex of the link that has an ifindex, name or altname; 0 if there is none."""
    body = _get(netlink, key)
    return 0 if body is None else int(_INFO.unpack_from(body)[2])


def _get(netlink: Rtnetlink, key: int | str) -> bytes | None:
    body = header(key) if isinstance(key, int) else header() + text(IFLA_ALT_IFNAME, key)
    try:
        return netlink.ask(RTM_GETLINK, body + _NO_STATISTICS).body
    except OSError as error:
        if error.errno == 19:  # ENODEV
            return None
        raise


def set_flags(netlink: Rtnetlink, index: int, flags: int, mask: int = IFF_UP) -> None:
    """Set the flags in mask to their value in flags; IFF_UP brings a link up or down."""
    netlink.request(RTM_SETLINK, header(index, flags & mask, mask))


def change(
    netlink: Rtnetlink,
    index: int,
    *,
    name: str | None = None,
    mtu: int | None = None,
    mac: bytes | None = None,
    queue_length: int | None = None,
    group: int | None = None,
    alias: str | None = None,
) -> None:
    """Change what is given, in one message; none is sent if nothing is given. A link can be renamed while it is up."""
    body = b""
    if name is not None:
        body += text(IFLA_IFNAME, name)
    if mtu is not None:
        body += u32(IFLA_MTU, mtu)
    if mac is not None:
        body += attribute(IFLA_ADDRESS, mac)
    if queue_length is not None:
        body += u32(IFLA_TXQLEN, queue_length)
    if group is not None:
        body += u32(IFLA_GROUP, group)
    if alias is not None:
        body += attribute(IFLA_IFALIAS, os.fsencode(alias))  # empty removes it
    if body:
        netlink.request(RTM_SETLINK, header(index) + body)


def set_ipv4_settings(netlink: Rtnetlink, index: int, values: Iterable[tuple[int, int]]) -> None:
    """Set net.ipv4.conf values by the kernel's id, all or none. Raises OSError."""
    conf = nested(IFLA_INET_CONF, *(u32(kind, value) for kind, value in values))
    netlink.request(RTM_SETLINK, header(index) + nested(IFLA_AF_SPEC, nested(AF_INET, conf)))


def set_ipv6_attribute(netlink: Rtnetlink, index: int, kind: int, value: bytes) -> None:
    """Set how IPv6 makes link-local addresses (IFLA_INET6_ADDR_GEN_MODE) or the token. Raises OSError."""
    family = nested(AF_INET6, attribute(kind, value))
    netlink.request(RTM_SETLINK, header(index) + nested(IFLA_AF_SPEC, family))


def move(netlink: Rtnetlink, index: int, netns: int, name: str, *, up: bool, new_index: int | None = None) -> None:
    """Move a link to the namespace of the descriptor netns, rename it there, and bring it up: one message.

    Not atomic: an error may leave it moved but not renamed, and down. new_index: its ifindex there; EBUSY or EEXIST if
    that is taken, and nothing has happened then. 15 to 20 ms of the kernel's time.
    """
    body = header(index, IFF_UP if up else 0, IFF_UP if up else 0)
    body += u32(IFLA_NET_NS_FD, netns) + text(IFLA_IFNAME, name)
    if new_index is not None:
        body += u32(IFLA_NEW_IFINDEX, new_index)
    netlink.request(RTM_SETLINK, body)


def add_altname(netlink: Rtnetlink, index: int, name: str) -> None:
    """Raises FileExistsError if the name or altname is taken in the namespace."""
    netlink.request(RTM_NEWLINKPROP, header(index) + nested(IFLA_PROP_LIST, text(IFLA_ALT_IFNAME, name)), 0x600)


def remove_altname(netlink: Rtnetlink, index: int, name: str) -> None:
    """Raises OSError (ENOENT, EINVAL) if the link has no such altname."""
    netlink.request(RTM_DELLINKPROP, header(index) + nested(IFLA_PROP_LIST, text(IFLA_ALT_IFNAME, name)))
