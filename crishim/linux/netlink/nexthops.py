"""Nexthop objects over a link, which the kernel removes with the link, and their groups. linux/nexthop.h."""

import struct
from collections.abc import Collection

import msgspec

from crishim.linux.netlink.rtnetlink import NLM_F_CREATE, NLM_F_REPLACE, Rtnetlink, attributes, join, table, u32

RTM_NEWNEXTHOP, RTM_GETNEXTHOP = 104, 106
NHA_ID, NHA_GROUP, NHA_OIF, NHA_GROUPS = 1, 2, 5, 9
_LEFT = frozenset({13, 14, 15, 16, 17})  # bucket, group and hardware statistics, operation flags: not written

_HEAD = struct.Struct("=BBBBI")  # struct nhmsg: family, scope, protocol, reserved, flags
_MEMBER = struct.Struct("=IBBH")  # struct nexthop_grp: id, weight, its high byte, reserved


class Nexthop(msgspec.Struct, frozen=True, kw_only=True):
    """A nexthop, or a group of them. header: struct nhmsg; attributes: NHA_*."""

    header: bytes
    attributes: bytes

    @property
    def id(self) -> int:
        return int(struct.unpack("=I", table(self.attributes)[NHA_ID])[0])

    @property
    def members(self) -> dict[int, bytes]:
        """Of a group: its entries (struct nexthop_grp) by the id of the nexthop."""
        value = table(self.attributes).get(NHA_GROUP, b"")
        entries = [value[i : i + _MEMBER.size] for i in range(0, len(value), _MEMBER.size)]
        return {_MEMBER.unpack(e)[0]: e for e in entries}


def _parse(body: bytes) -> Nexthop:
    kept = join((kind, value) for kind, value in attributes(body[_HEAD.size :]) if kind not in _LEFT)
    return Nexthop(header=body[: _HEAD.size], attributes=kept)


def _dump(netlink: Rtnetlink, selection: bytes) -> list[Nexthop]:
    try:
        messages = netlink.dump(RTM_GETNEXTHOP, bytes(_HEAD.size) + selection)
    except OSError as error:
        if error.errno == 95:  # EOPNOTSUPP: before Linux 5.3
            return []
        raise
    return [_parse(m.body) for m in messages if m.type == RTM_NEWNEXTHOP]


def dump(netlink: Rtnetlink, index: int) -> tuple[Nexthop, ...]:
    """Nexthops over a link, then the groups that contain one of them. Raises OSError."""
    mine = _dump(netlink, u32(NHA_OIF, index))
    if not mine:
        return ()
    ids = {n.id for n in mine}
    return (*mine, *(g for g in groups(netlink) if ids & set(g.members)))


def dump_each(netlink: Rtnetlink, indexes: Collection[int]) -> dict[int, tuple[Nexthop, ...]]:
    """dump() of several links; one request if there are no nexthops at all."""
    if len(indexes) > 1 and not _dump(netlink, b""):
        return dict.fromkeys(indexes, ())
    return {index: dump(netlink, index) for index in indexes}


def groups(netlink: Rtnetlink) -> list[Nexthop]:
    return _dump(netlink, struct.pack("=HH", 4, NHA_GROUPS))


def exists(netlink: Rtnetlink, id: int) -> bool:
    try:
        return bool(netlink.request(RTM_GETNEXTHOP, bytes(_HEAD.size) + u32(NHA_ID, id)))
    except OSError as error:
        if error.errno == 2:  # ENOENT
            return False
        raise


def add(netlink: Rtnetlink, nexthop: Nexthop, index: int) -> None:
    """Make a nexthop over the link `index`; does nothing if its id exists. Raises OSError."""
    items = [(k, struct.pack("=I", index) if k == NHA_OIF else v) for k, v in attributes(nexthop.attributes)]
    if not exists(netlink, nexthop.id):
        netlink.request(RTM_NEWNEXTHOP, _header(nexthop) + join(items), NLM_F_CREATE)


def add_group(netlink: Rtnetlink, group: Nexthop) -> None:
    """Make a group, or add its missing members that exist to what is left of it. Raises OSError."""
    there = next((g for g in groups(netlink) if g.id == group.id), None)
    members = dict(there.members) if there is not None else {}
    before = set(members)
    members |= {id: entry for id, entry in group.members.items() if id not in members and exists(netlink, id)}
    if set(members) == before:
        return
    ordered = [members[id] for id in (*group.members, *members) if id in members]
    value = b"".join(dict.fromkeys(ordered))
    items = [(k, value if k == NHA_GROUP else v) for k, v in attributes(group.attributes)]
    netlink.request(RTM_NEWNEXTHOP, _header(group) + join(items), NLM_F_CREATE | (NLM_F_REPLACE if there else 0))


def _header(nexthop: Nexthop) -> bytes:
    family, _, protocol, _, flags = _HEAD.unpack(nexthop.header)
    return _HEAD.pack(family, 0, protocol, 0, flags & 4)  # RTNH_F_ONLINK; the kernel sets the scope
