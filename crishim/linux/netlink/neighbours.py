"""A link's neighbour parameters (net.ipv4.neigh.NAME.*, net.ipv6.neigh.NAME.*) and the entries a user made: permanent
neighbours, proxied ones, forwarding entries of the device itself. linux/neighbour.h.

Entries that the kernel learned are left out: it learns them again. All are kept as the kernel wrote them.
"""

import errno
import ipaddress
import struct
from collections.abc import Collection, Container, Iterable, Iterator

import msgspec

from crishim.linux.netlink.rtnetlink import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    Rtnetlink,
    attributes,
    join,
    nested,
    number,
    table,
    text,
    u32,
)

RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
AF_UNSPEC, AF_BRIDGE = 0, 7
NUD_PERMANENT = 0x80
NTF_PROXY = 0x08
NTF_EXT_MANAGED = 1
NDA_DST, NDA_LLADDR, NDA_CACHEINFO, NDA_PROBES, NDA_VLAN, NDA_IFINDEX, NDA_FLAGS_EXT = 1, 2, 3, 4, 5, 8, 15
NDA_MASTER = 9

_HEAD = struct.Struct("=BxxxiHBB")  # struct ndmsg: family, ifindex, state, flags, type

RTM_NEWNEIGHTBL, RTM_GETNEIGHTBL, RTM_SETNEIGHTBL = 64, 66, 67
NDTA_NAME, NDTA_PARMS = 1, 6
NDTPA_IFINDEX = 1
# Base reachable time to locktime, and newer ones; not QUEUE_LEN (8), of which QUEUE_LENBYTES (16) is the exact form.
SETTABLE = frozenset({4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19})
MANY = 8  # links; from here on parsing every message is as fast as searching it for each link
_TABLE_HEAD = bytes(4)  # struct ndtmsg: family, padding


class Neighbour(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. attributes: NDA_* but for ages and counters."""

    family: int
    state: int  # NUD_*
    flags: int  # NTF_*
    type: int  # RTN_*
    attributes: bytes

    def __str__(self) -> str:
        fields = table(self.attributes)
        if self.family == AF_BRIDGE:
            return f"forwarding entry {fields.get(NDA_LLADDR, b'').hex(':')}"
        address = ipaddress.ip_address(fields[NDA_DST]) if NDA_DST in fields else "?"
        return f"{'proxied neighbour' if self.flags & NTF_PROXY else 'neighbour'} {address}"

    @property
    def is_static(self) -> bool:
        extended = table(self.attributes).get(NDA_FLAGS_EXT, bytes(4))
        managed = bool(struct.unpack("=I", extended)[0] & NTF_EXT_MANAGED)
        return bool(self.flags & NTF_PROXY or self.state & NUD_PERMANENT or managed)


def _parse(body: bytes) -> Neighbour:
    family, _, state, flags, type = _HEAD.unpack_from(body)
    left = (NDA_CACHEINFO, NDA_PROBES, NDA_MASTER, NDA_IFINDEX if family != AF_BRIDGE else 0)
    kept = join((kind, value) for kind, value in attributes(body[_HEAD.size :]) if kind not in left)
    return Neighbour(family=family, state=state, flags=flags, type=type, attributes=kept)


def dump(netlink: Rtnetlink, index: int) -> tuple[Neighbour, ...]:
    """Entries that a user made on a link: neighbours and proxied ones of both families. Raises OSError."""
    return dump_each(netlink, [index])[index]


def dump_each(netlink: Rtnetlink, indexes: Collection[int]) -> dict[int, tuple[Neighbour, ...]]:
    """dump() of several links, read at once."""
    found: dict[int, tuple[Neighbour, ...]] = dict.fromkeys(indexes, ())
    only = u32(NDA_IFINDEX, next(iter(indexes))) if len(indexes) == 1 else b""
    for flags in (0, NTF_PROXY):
        for index, body in _mine(netlink, _HEAD.pack(AF_UNSPEC, 0, 0, flags, 0) + only, found):
            entry = _parse(body)
            if entry.is_static:
                found[index] += (entry,)
    return found


def dump_forwarding(netlink: Rtnetlink, index: int) -> tuple[Neighbour, ...]:
    """Forwarding entries of the device itself (a vxlan's remotes, a NIC's unicast filters). Raises OSError.

    Multicast filters are left out: most are the kernel's; those of a user are in multicast.py.
    """
    return dump_each_forwarding(netlink, [index])[index]


def dump_each_forwarding(netlink: Rtnetlink, indexes: Collection[int]) -> dict[int, tuple[Neighbour, ...]]:
    """dump_forwarding() of several links, read at once."""
    found: dict[int, tuple[Neighbour, ...]] = dict.fromkeys(indexes, ())
    only = next(iter(indexes)) if len(indexes) == 1 else 0
    for index, body in _mine(netlink, _HEAD.pack(AF_BRIDGE, only, 0, 0, 0), found):
        entry = _parse(body)
        if entry.state & NUD_PERMANENT and not _is_multicast(entry):
            found[index] += (entry,)
    return found


def _mine(netlink: Rtnetlink, request: bytes, indexes: Container[int]) -> Iterator[tuple[int, bytes]]:
    for message in netlink.dump(RTM_GETNEIGH, request):
        index = int(_HEAD.unpack_from(message.body)[1])
        if message.type == RTM_NEWNEIGH and index in indexes:
            yield index, message.body


def _is_multicast(entry: Neighbour) -> bool:
    return bool(table(entry.attributes).get(NDA_LLADDR, b"\0")[0] & 1)


def missing(now: Iterable[Neighbour], wanted: Iterable[Neighbour]) -> list[Neighbour]:
    there = set(now)
    return [e for e in wanted if e not in there]


def add(netlink: Rtnetlink, index: int, entry: Neighbour) -> None:
    """Add an entry as it was read; replaces one of the same address. Raises OSError."""
    how = NLM_F_CREATE | (NLM_F_REPLACE if entry.family != AF_BRIDGE else 0)
    head = _HEAD.pack(entry.family, index, entry.state, entry.flags, entry.type)
    netlink.request(RTM_NEWNEIGH, head + entry.attributes, how)


def remove(netlink: Rtnetlink, index: int, entry: Neighbour) -> None:
    """Remove an entry. Raises OSError, ENOENT."""
    head = _HEAD.pack(entry.family, index, entry.state, entry.flags, entry.type)
    netlink.request(RTM_DELNEIGH, head + entry.attributes)


# --- parameters; one dump has all links, so it is read once for all candidates


class Ageing(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of one link in one table. attributes: NDTPA_* as read, those that can be written."""

    table: str  # arp_cache, ndisc_cache
    attributes: bytes


def dump_ageing(netlink: Rtnetlink, indexes: Collection[int]) -> dict[int, tuple[Ageing, ...]]:
    """Parameters of these links, by ifindex; a link without IPv4 or IPv6 has fewer."""
    found: dict[int, tuple[Ageing, ...]] = dict.fromkeys(indexes, ())
    theirs = [u32(NDTPA_IFINDEX, index) for index in indexes]
    for message in netlink.dump(RTM_GETNEIGHTBL, _TABLE_HEAD):
        if len(theirs) < MANY and not any(mark in message.body for mark in theirs):
            continue
        fields = table(message.body[len(_TABLE_HEAD) :])
        parameters = table(fields.get(NDTA_PARMS, b""))
        index = number(parameters.get(NDTPA_IFINDEX, b""))
        if message.type != RTM_NEWNEIGHTBL or index not in found or not index:
            continue
        kept = join((kind, value) for kind, value in parameters.items() if kind in SETTABLE)
        name = fields.get(NDTA_NAME, b"").rstrip(b"\0").decode()
        found[index] += (Ageing(table=name, attributes=kept),)
    return found


def restore_ageing(netlink: Rtnetlink, index: int, ageing: Ageing) -> None:
    """Write the parameters to a link; does nothing if it is not in that table any more. Raises OSError."""
    parameters = nested(NDTA_PARMS, u32(NDTPA_IFINDEX, index), ageing.attributes)
    try:
        netlink.request(RTM_SETNEIGHTBL, _TABLE_HEAD + text(NDTA_NAME, ageing.table) + parameters)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
