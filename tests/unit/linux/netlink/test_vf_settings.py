"""IFLA_VFINFO_LIST: whatever a driver tells is split by function, and never fails."""

import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from crishim.linux.netlink import vf_settings as wire
from crishim.linux.netlink.links import RTM_SETLINK, header
from crishim.linux.netlink.rtnetlink import attribute, frame, nested, table

VALUES = st.dictionaries(st.integers(14, 60), st.binary(min_size=4, max_size=40), max_size=5)


@given(st.lists(VALUES, max_size=6), st.integers(0, 7))
def test_one_of_many(functions: list[dict[int, bytes]], number: int) -> None:
    """Those of the function asked for, as they came; none of a function that is not there."""
    infos = [
        nested(
            wire.IFLA_VF_INFO,
            attribute(wire.IFLA_VF_MAC, struct.pack("=I32s", n, bytes(6))),
            *(attribute(k, v) for k, v in values.items()),
        )
        for n, values in enumerate(functions)
    ]
    found = table(wire.parse(b"".join(infos), number))
    mac = found.pop(wire.IFLA_VF_MAC, None)
    assert found == (functions[number] if number < len(functions) else {})
    assert (mac is not None) == (number < len(functions))


@given(st.binary(max_size=300), st.integers(0, 3))
def test_any_bytes(data: bytes, number: int) -> None:
    assert wire.changes(b"", wire.parse(data, number)) == list(table(wire.parse(data, number)).items())


@given(VALUES, VALUES)
def test_changes(now: dict[int, bytes], wanted: dict[int, bytes]) -> None:
    """What has another value now, or none; what is new is left."""
    packed = [b"".join(attribute(k, v) for k, v in each.items()) for each in (now, wanted)]
    assert dict(wire.changes(*packed)) == {k: v for k, v in wanted.items() if now.get(k) != v}


def asked(*changes: tuple[int, bytes]) -> list[bytes]:
    """The requests that set them on the link with ifindex 7."""

    class Socket:
        def __init__(self) -> None:
            self.bodies: list[bytes] = []

        def request(self, kind: int, body: bytes) -> None:
            assert kind == RTM_SETLINK
            self.bodies.append(body)

    socket: Any = Socket()
    for change in changes:
        wire.write(socket, 7, change)
    return list(socket.bodies)


def test_what_is_written() -> None:
    """Byte by byte, as linux/if_link.h lays it out: ifla_vf_spoofchk, ifla_vf_vlan_info in its list."""
    vlan = attribute(wire.IFLA_VF_VLAN_INFO, struct.pack("=III", 3, 100, 5) + struct.pack(">H2x", 0x88A8))
    assert asked((wire.IFLA_VF_SPOOFCHK, struct.pack("=II", 3, 1)), (wire.IFLA_VF_VLAN_LIST, vlan)) == [
        header(7) + bytes.fromhex("14001680 10000180 0c000400 03000000 01000000"),
        header(7) + bytes.fromhex("20001680 1c000180 18000c80 14000100 03000000 64000000 05000000 88a80000"),
    ]


def test_another_opinion_on_it() -> None:
    """pyroute2 reads the same."""
    read: dict[str, Any] = {}
    for body in asked(
        (wire.IFLA_VF_MAC, struct.pack("=I6s26x", 3, b"\2\0\0\0\0\3")),
        (wire.IFLA_VF_RATE, struct.pack("=III", 3, 10, 1000)),
        (wire.IFLA_VF_SPOOFCHK, struct.pack("=II", 3, 1)),
        (wire.IFLA_VF_LINK_STATE, struct.pack("=II", 3, 2)),
        (wire.IFLA_VF_TRUST, struct.pack("=II", 3, 1)),
    ):
        message = ifinfmsg(frame(RTM_SETLINK, 0, 1, body))
        message.decode()
        (info,) = message.get_attr("IFLA_VFINFO_LIST").get_attrs("IFLA_VF_INFO")
        read |= dict(info["attrs"])
    assert read == {
        "IFLA_VF_MAC": {"vf": 3, "mac": "02:00:00:00:00:03"},
        "IFLA_VF_RATE": {"vf": 3, "min_tx_rate": 10, "max_tx_rate": 1000},
        "IFLA_VF_SPOOFCHK": {"vf": 3, "spoofchk": 1},
        "IFLA_VF_LINK_STATE": {"vf": 3, "link_state": 2},
        "IFLA_VF_TRUST": {"vf": 3, "trust": 1},
    }
