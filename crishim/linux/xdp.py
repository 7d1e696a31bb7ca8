"""XDP programs of a link, by mode: driver and generic exclude each other, hardware is independent."""

import struct

from crishim.linux.netlink.links import RTM_SETLINK, header
from crishim.linux.netlink.rtnetlink import Rtnetlink, attribute, nested, table, u32

IFLA_XDP, IFLA_XDP_FD, IFLA_XDP_FLAGS = 43, 1, 3
IFLA_XDP_PROG_ID = {"XDP driver": 5, "XDP generic": 6, "XDP hardware": 7}
XDP_FLAGS = {"XDP driver": 1 << 2, "XDP generic": 1 << 1, "XDP hardware": 1 << 3}


def parse(value: bytes) -> dict[str, int]:
    """Program ids by mode, of Link.xdp."""
    found = table(value)
    ids = {mode: int(struct.unpack("=I", found[kind])[0]) for mode, kind in IFLA_XDP_PROG_ID.items() if kind in found}
    return {mode: id for mode, id in ids.items() if id}


def attach(netlink: Rtnetlink, index: int, mode: str, program: int) -> None:
    """Attach a program (a descriptor; -1 detaches the present one) to a link. EBUSY: a bpf_link is attached."""
    value = attribute(IFLA_XDP_FD, struct.pack("=i", program)) + u32(IFLA_XDP_FLAGS, XDP_FLAGS[mode])
    netlink.request(RTM_SETLINK, header(index) + nested(IFLA_XDP, value))


def detach(netlink: Rtnetlink, index: int, mode: str) -> None:
    """Detach the program of a mode. Raises OSError, EBUSY if it is attached by a bpf_link."""
    attach(netlink, index, mode, -1)
