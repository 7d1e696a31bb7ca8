"""A link's attributes as bytes, compared and restored, also those not known here. linux/if_link.h.

Not those of other files: names, MAC, MTU and the like (links.py), the families' settings (devconf.py), XDP (xdp.py).
"""

from crishim.linux.netlink.attribute_shapes import Attribute
from crishim.linux.netlink.links import (
    IFLA_ADDRESS,
    IFLA_AF_SPEC,
    IFLA_GROUP,
    IFLA_IFALIAS,
    IFLA_IFNAME,
    IFLA_LINK,
    IFLA_LINK_NETNSID,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
    IFLA_PROP_LIST,
    IFLA_TXQLEN,
    IFLA_XDP,
    RTM_NEWLINK,
    RTM_SETLINK,
    header,
)
from crishim.linux.netlink.rtnetlink import Rtnetlink, attribute, attributes, nested, table, text, u32, without

IFLA_QDISC, IFLA_STATS, IFLA_OPERSTATE, IFLA_LINKMODE, IFLA_STATS64, IFLA_VFINFO_LIST = 6, 7, 16, 17, 23, 22
IFLA_CARRIER, IFLA_PROTO_DOWN, IFLA_PROTO_DOWN_REASON = 33, 39, 55
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
IF_OPER_TESTING, IF_OPER_DORMANT, IF_OPER_UP = 4, 5, 6
IFLA_PROTO_DOWN_REASON_MASK, IFLA_PROTO_DOWN_REASON_VALUE = 1, 2

# Of other files, or state and no setting: promiscuity, allmulti and carrier counters, operational state.
_ELSEWHERE = {IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_TXQLEN, IFLA_IFALIAS, IFLA_GROUP, IFLA_AF_SPEC, IFLA_PROP_LIST}
_ELSEWHERE |= {IFLA_LINK, IFLA_LINK_NETNSID, IFLA_MASTER, IFLA_XDP}
_STATE = {IFLA_QDISC, IFLA_STATS, IFLA_STATS64, 30, 35, 44, 47, 48, 61}
_CONDITION = frozenset({IFLA_OPERSTATE, IFLA_CARRIER})  # kept, and compared by condition() only
_KIND_STATE = {("tun", 8), ("tun", 9), ("macvlan", 6), ("macvlan", 8), ("macvtap", 6), ("macvtap", 8)}  # counters
SKIPPED = frozenset(_ELSEWHERE | _STATE)

NAMES = {
    2: "link-layer broadcast address",
    IFLA_LINKMODE: "link mode",
    IFLA_CARRIER: "carrier",
    IFLA_PROTO_DOWN: "protodown",
    40: "gso_max_segs",
    41: "gso_max_size",
    IFLA_PROTO_DOWN_REASON: "protodown reason",
    58: "gro_max_size",
    63: "gso_ipv4_max_size",
    64: "gro_ipv4_max_size",
}


def keep(link_attributes: bytes) -> bytes:
    """Of Link.attributes, those that are compared and restored."""
    return without(link_attributes, SKIPPED)


def same_settings(now: bytes, wanted: bytes) -> bool:
    """Whether changes() and kind_changes() are empty, as nearly always: faster than calling them."""
    return now == wanted or without(now, _CONDITION) == without(wanted, _CONDITION)


def changes(now: bytes, wanted: bytes) -> list[Attribute]:
    """Attributes of keep() that differ, with their wanted values, in the kernel's order; kind data is left out.

    An attribute that is there now and was not before has an empty value.
    """
    have = {k: v for k, v in attributes(now) if k != IFLA_LINKINFO and k not in _CONDITION}
    want = {k: v for k, v in attributes(wanted) if k != IFLA_LINKINFO and k not in _CONDITION}
    return [(k, want.get(k, b"")) for k in sorted(have.keys() | want.keys()) if have.get(k) != want.get(k)]


def write(netlink: Rtnetlink, index: int, change: Attribute) -> None:
    """Set one attribute. Raises OSError, also for those that cannot be set."""
    kind, value = change
    if kind == IFLA_PROTO_DOWN_REASON:
        reasons = table(value).get(IFLA_PROTO_DOWN_REASON_VALUE, bytes(4))
        mask = u32(IFLA_PROTO_DOWN_REASON_MASK, 0xFFFFFFFF)
        body = nested(kind, mask, attribute(IFLA_PROTO_DOWN_REASON_VALUE, reasons))
    else:
        body = attribute(kind, value)
    netlink.request(RTM_SETLINK, header(index) + body)


def name(kind: int) -> str:
    return NAMES.get(kind, f"link attribute {kind}")


def kind_name(kind: str, attribute: int) -> str:
    return f"attribute {attribute} of its kind {kind}"


def _kind(kept: bytes) -> tuple[str, dict[int, bytes]]:
    info = table(table(kept).get(IFLA_LINKINFO, b""))
    kind = info.get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode(errors="replace")
    return kind, table(info.get(IFLA_INFO_DATA, b""))


def kind_changes(now: bytes, wanted: bytes) -> tuple[str, list[Attribute]]:
    """The kind and those of its own attributes that differ, with their wanted values."""
    kind, want = _kind(wanted)
    _, have = _kind(now)
    settings = [k for k in sorted(have.keys() | want.keys()) if (kind, k) not in _KIND_STATE]
    return kind, [(k, want.get(k, b"")) for k in settings if have.get(k) != want.get(k)]


def write_kind(netlink: Rtnetlink, index: int, kind: str, change: Attribute) -> None:
    """Set one of a kind's own attributes (macvlan's mode, vxlan's learning). Raises OSError."""
    data = nested(IFLA_INFO_DATA, attribute(*change))
    netlink.request(RTM_NEWLINK, header(index) + nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, kind), data))


def condition(kept: bytes) -> tuple[int, bool]:
    """The operational state a user has set (IF_OPER_DORMANT, IF_OPER_TESTING, or 0), and whether it has carrier."""
    fields = table(kept)
    state = fields.get(IFLA_OPERSTATE, b"\0")[0]
    return state if state in (IF_OPER_TESTING, IF_OPER_DORMANT) else 0, fields.get(IFLA_CARRIER) == b"\1"


def hold(netlink: Rtnetlink, index: int, state: int) -> None:
    """Set a link's operational state; 0: IF_OPER_UP, which the kernel sets only when the carrier changes. OSError."""
    netlink.request(RTM_SETLINK, header(index) + attribute(IFLA_OPERSTATE, bytes([state or IF_OPER_UP])))


def set_carrier(netlink: Rtnetlink, index: int) -> None:
    """Set carrier. Raises OSError, EOPNOTSUPP for most kinds: theirs is the cable's, or their parent's."""
    netlink.request(RTM_SETLINK, header(index) + attribute(IFLA_CARRIER, b"\1"))
