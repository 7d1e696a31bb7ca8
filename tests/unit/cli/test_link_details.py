"""Details of links out of pyroute2's messages, made and parsed by pyroute2 itself."""

from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from crishim.cli.link_details import describe, port, text

NAMES = {2: "eth0", 3: "eth1", 9: "x\ufffd"}


def link(kind: str = "", data: list[tuple[str, Any]] | None = None, **attributes: Any) -> Any:
    """As it comes from the kernel."""
    values: list[tuple[str, Any]] = [("IFLA_IFNAME", "x0"), *(("IFLA_" + k, v) for k, v in attributes.items())]
    if kind:
        more = [("IFLA_INFO_DATA", {"attrs": data})] if data else []
        values.append(("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", kind), *more]}))
    made = ifinfmsg()
    made["index"], made["attrs"] = 5, values
    made.encode()
    read = ifinfmsg(made.data)
    read.decode()
    return read


@pytest.mark.parametrize(
    ("kind", "data", "found"),
    [
        ("vlan", [("IFLA_VLAN_ID", 7), ("IFLA_VLAN_PROTOCOL", 0x8100)], {"id": 7, "protocol": 0x8100}),
        (
            "vxlan",
            [("IFLA_VXLAN_ID", 42), ("IFLA_VXLAN_GROUP6", "2001:db8::1"), ("IFLA_VXLAN_PORT", 4789)],
            {"id": 42, "remote": "2001:db8::1", "port": 4789},
        ),
        ("bond", [("IFLA_BOND_MODE", 4), ("IFLA_BOND_ACTIVE_SLAVE", 3)], {"mode": 4, "active": "eth1"}),
        ("bridge", [("IFLA_BR_VLAN_FILTERING", 1), ("IFLA_BR_STP_STATE", 0)], {"vlan_filtering": 1, "stp": 0}),
        ("vrf", [("IFLA_VRF_TABLE", 10)], {"table": 10}),
        ("dummy", None, {}),
    ],
)
def test_of_each_kind(kind: str, data: list[tuple[str, Any]] | None, found: dict[str, object]) -> None:
    assert describe(link(kind, data), NAMES) == found


def test_where_it_hangs() -> None:
    """The lower device by name, if it is in the same namespace; a veth's peer is none."""
    assert describe(link("macvlan", [("IFLA_MACVLAN_MODE", "bridge")], LINK=2), NAMES) == {
        "mode": "bridge",
        "parent": "eth0",
    }
    assert describe(link("ipvlan", LINK=2, LINK_NETNSID=0), NAMES) == {}
    assert describe(link("veth", LINK=2), NAMES) == {}
    assert describe(link("vlan", LINK=4711), NAMES) == {}


def test_hardware() -> None:
    """Its place on its bus, its port, how many virtual functions, devlink's name."""
    card = link(PARENT_DEV_NAME="0000:03:00.0", PHYS_PORT_NAME="p0", NUM_VF=4)
    assert describe(card, NAMES, "pci/0000:03:00.0/1") == {
        "device": "0000:03:00.0",
        "port": "p0",
        "virtual_functions": 4,
        "devlink": "pci/0000:03:00.0/1",
    }


def test_words() -> None:
    assert text({}) == ""
    assert text({"id": 42, "remote": "192.0.2.1"}) == "id 42, remote 192.0.2.1"


def test_devlink_ports() -> None:
    """Of those that are links."""

    class Message(dict[str, object]):
        get_attr = dict.get

    named = Message(DEVLINK_ATTR_BUS_NAME="pci", DEVLINK_ATTR_DEV_NAME="0000:03:00.0", DEVLINK_ATTR_PORT_INDEX=1)
    assert port(named) == []
    assert port(Message(named, DEVLINK_ATTR_PORT_NETDEV_IFINDEX=5)) == [(5, "pci/0000:03:00.0/1")]
