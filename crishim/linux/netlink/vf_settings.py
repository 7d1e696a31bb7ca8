"""Settings of a virtual function that are made through its physical function (SR-IOV): MAC, VLAN, rates, trust.

`ip link set PF vf N ...`, linux/if_link.h. The values are kept as the kernel wrote them, each a struct that begins with
the function's number (u32), so that a later kernel's are compared too. All ones: the driver has no such setting.
"""

from crishim.linux.netlink.attribute_shapes import Attribute
from crishim.linux.netlink.links import IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS, RTM_GETLINK, RTM_SETLINK, header
from crishim.linux.netlink.rtnetlink import Rtnetlink, attribute, attributes, join, nested, number, table, u32

IFLA_VFINFO_LIST, IFLA_VF_INFO = 22, 1
IFLA_VF_MAC, IFLA_VF_VLAN, IFLA_VF_TX_RATE, IFLA_VF_SPOOFCHK, IFLA_VF_LINK_STATE, IFLA_VF_RATE = 1, 2, 3, 4, 5, 6
IFLA_VF_RSS_QUERY_EN, IFLA_VF_STATS, IFLA_VF_TRUST, IFLA_VF_IB_NODE_GUID, IFLA_VF_IB_PORT_GUID = 7, 8, 9, 10, 11
IFLA_VF_VLAN_LIST, IFLA_VF_BROADCAST = 12, 13
IFLA_VF_VLAN_INFO = 1  # in IFLA_VF_VLAN_LIST: struct ifla_vf_vlan_info, one at most
RTEXT_FILTER_VF = 1

NAMES = {
    IFLA_VF_MAC: "MAC",
    IFLA_VF_VLAN: "VLAN",
    IFLA_VF_TX_RATE: "tx rate",
    IFLA_VF_SPOOFCHK: "spoof checking",
    IFLA_VF_LINK_STATE: "link state",
    IFLA_VF_RATE: "rates",
    IFLA_VF_RSS_QUERY_EN: "RSS query",
    IFLA_VF_TRUST: "trust",
    IFLA_VF_IB_NODE_GUID: "node GUID",
    IFLA_VF_IB_PORT_GUID: "port GUID",
    IFLA_VF_VLAN_LIST: "VLAN",
}
_REPLACED = {IFLA_VF_TX_RATE: IFLA_VF_RATE, IFLA_VF_VLAN: IFLA_VF_VLAN_LIST}  # the older form has less


def read(netlink: Rtnetlink, physical: int, function: int) -> bytes:
    """The attributes of one function, for changes(); b"" if its driver has none. Raises OSError.

    physical: ifindex of the physical function. function: number of the virtual one.
    """
    mask = u32(IFLA_EXT_MASK, RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS)
    answer = netlink.ask(RTM_GETLINK, header(physical) + mask)
    return parse(table(answer.body[len(header()) :]).get(IFLA_VFINFO_LIST, b""), function)


def parse(functions: bytes, function: int) -> bytes:
    """One function's settings of IFLA_VFINFO_LIST, without counters and older forms."""
    for kind, info in attributes(functions):
        found = attributes(info)
        if kind == IFLA_VF_INFO and any(k == IFLA_VF_MAC and number(v) == function for k, v in found):
            have = {k for k, _ in found}
            left = {IFLA_VF_STATS, IFLA_VF_BROADCAST} | {k for k, by in _REPLACED.items() if by in have}
            return join((k, v) for k, v in found if k not in left)
    return b""


def changes(now: bytes, wanted: bytes) -> list[Attribute]:
    """Settings of read() that differ, with their wanted values."""
    have = table(now)
    return [(kind, value) for kind, value in attributes(wanted) if have.get(kind) != value]


def write(netlink: Rtnetlink, physical: int, change: Attribute) -> None:
    """Set one; its value names the function. Raises OSError."""
    kind, value = change
    one = nested(kind, value) if kind == IFLA_VF_VLAN_LIST else attribute(kind, value)
    netlink.request(RTM_SETLINK, header(physical) + nested(IFLA_VFINFO_LIST, nested(IFLA_VF_INFO, one)))


def name(kind: int) -> str:
    """The name for a warning; of an unknown attribute its number."""
    return f"virtual function's {NAMES.get(kind, f'attribute {kind}')} (set by the physical function)"
