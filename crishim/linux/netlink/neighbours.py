"""How a link's neighbours are found and aged, net.ipv4.neigh.NAME.* and net.ipv6.neigh.NAME.*: read and written back.

One dump tells of all links, so it is read once for all that matter. linux/neighbour.h, struct ndtmsg, NDTA_*, NDTPA_*.
"""

import errno
from collections.abc import Collection

import msgspec

from crishim.linux.netlink.rtnetlink import Rtnetlink, join, nested, number, table, text, u32

RTM_NEWNEIGHTBL, RTM_GETNEIGHTBL, RTM_SETNEIGHTBL = 64, 66, 67
NDTA_NAME, NDTA_PARMS = 1, 6
NDTPA_IFINDEX = 1
# Base reachable time to locktime, and newer ones; not QUEUE_LEN (8), which QUEUE_LENBYTES (16) says more exactly.
SETTABLE = frozenset({4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19})

_HEAD = bytes(4)  # struct ndtmsg: family, padding


class Ageing(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of one link in one table. attributes: NDTPA_* as read, those that can be written."""

    table: str  # arp_cache, ndisc_cache
    attributes: bytes


def dump(netlink: Rtnetlink, indexes: Collection[int]) -> dict[int, tuple[Ageing, ...]]:
    """Parameters of these links, by ifindex; a link without any (no IPv6, no IPv4) has fewer."""
    found: dict[int, tuple[Ageing, ...]] = dict.fromkeys(indexes, ())
    for message in netlink.dump(RTM_GETNEIGHTBL, _HEAD):
        fields = table(message.body[len(_HEAD) :])
        parameters = table(fields.get(NDTA_PARMS, b""))
        index = number(parameters.get(NDTPA_IFINDEX, b""))
        if message.type != RTM_NEWNEIGHTBL or index not in found or not index:
            continue
        kept = join((kind, value) for kind, value in parameters.items() if kind in SETTABLE)
        name = fields.get(NDTA_NAME, b"").rstrip(b"\0").decode()
        found[index] += (Ageing(table=name, attributes=kept),)
    return found


def restore(netlink: Rtnetlink, index: int, ageing: Ageing) -> None:
    """Write the parameters to a link; nothing happens if it has none of that table any more. Raises OSError."""
    parameters = nested(NDTA_PARMS, u32(NDTPA_IFINDEX, index), ageing.attributes)
    try:
        netlink.request(RTM_SETNEIGHTBL, _HEAD + text(NDTA_NAME, ageing.table) + parameters)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
