"""Reasons a host link stays that need hardware or kinds of links not every kernel has; the others are node tests."""

import struct
from dataclasses import replace
from typing import Any

import pytest

from crishim.linux.device_tree import Function
from crishim.linux.netlink.links import Link
from crishim.linux.netlink.rtnetlink import attribute, u32
from crishim.netdev.link_checks import HostState, reason
from crishim.netdev.link_usage import LinkUsage
from crishim.netdev.records import Attachment, Captured, Identity, Mover, PodRef, State

ADDRESS = bytes([192, 0, 2, 7])
DEMO = Link(index=5, name="demo0")


def link(index: int, name: str, **fields: Any) -> Link:
    return Link(index=index, name=name, **fields)


def holder(identity: Identity) -> Attachment:
    return Attachment(
        id="0" * 16,
        pod=PodRef(id="pod-b", netns="/run/b", title="default/b"),
        netns_inode=1,
        state=State.READY,
        mover=Mover.BUILTIN,
        sources=("cdi: v/c=a",),
        wanted="net1",
        name="net1",
        host=Captured(index=9, name="vf0"),
        identity=identity,
    )


def scene(*others: Link, held: tuple[Attachment, ...] = (), **around: Any) -> HostState:
    addresses, owners = {5: frozenset({ADDRESS})}, {ADDRESS: frozenset({5})}
    return HostState((DEMO, *others), held, LinkUsage(addresses=addresses, owners=owners, **around))


def test_a_device_nothing_hangs_on() -> None:
    assert reason(DEMO, scene(link(6, "other0"))) == ""


@pytest.mark.parametrize("kind", ["bond", "bridge", "team", "vrf", "openvswitch"])
def test_ports_of_any_master(kind: str) -> None:
    """Both ways: a port says its master, and a master has ports."""
    master = link(7, "master0", kind=kind)
    assert reason(link(5, "demo0", master=7), scene(master)) == "it belongs to master0"
    assert reason(master, scene(link(5, "demo0", master=7))) != ""


@pytest.mark.parametrize(
    ("kind", "info"),
    [
        ("gre", u32(1, 5)),
        ("ip6gretap", u32(1, 5)),
        ("ipip", u32(1, 5)),
        ("sit", u32(1, 5)),
        ("vti", u32(1, 5)),
        ("xfrm", u32(1, 5)),
        ("vxlan", u32(3, 5)),
        ("amt", u32(4, 5)),
        ("hsr", u32(1, 9) + u32(2, 5)),
    ],
)
def test_kinds_that_name_their_device_themselves(kind: str, info: bytes) -> None:
    """IFLA_GRE_LINK, _IPTUN_LINK, _VTI_LINK, _XFRM_LINK, _VXLAN_LINK, _AMT_LINK, _HSR_SLAVE2."""
    assert reason(DEMO, scene(link(6, "over0", kind=kind, info=info))) == "over0 depends on it"
    assert reason(DEMO, scene(link(6, "over0", kind=kind, info=info, parent_netns=0))) == ""
    assert reason(link(8, "demo1"), scene(link(6, "over0", kind=kind, info=info))) == ""


@pytest.mark.parametrize("kind", ["vlan", "macvlan", "ipvlan", "macsec", "gre"])
def test_kinds_that_name_it_as_their_lower_link(kind: str) -> None:
    assert reason(DEMO, scene(link(6, "over0", kind=kind, parent=5))) == "over0 depends on it"


@pytest.mark.parametrize(("kind", "number"), [("gre", 6), ("ipip", 2), ("sit", 2), ("vti", 4), ("vxlan", 4)])
def test_tunnels_bound_to_an_address(kind: str, number: int) -> None:
    """Unless another link has the address, too."""
    over = link(6, "over0", kind=kind, info=attribute(number, ADDRESS))
    assert reason(DEMO, scene(over)) == "over0 depends on its address 192.0.2.7"
    twice = scene(over)
    around = twice.around._replace(owners={ADDRESS: frozenset({5, 8})})
    assert reason(DEMO, replace(twice, around=around)) == ""


@pytest.mark.parametrize(
    ("kind", "info"), [("geneve", attribute(6, b"")), ("gre", attribute(18, b"")), ("ipip", attribute(19, b""))]
)
def test_flow_based_tunnels(kind: str, info: bytes) -> None:
    """IFLA_*_COLLECT_METADATA, a flag in these kinds."""
    assert "others' routes and programs" in reason(link(6, "over0", kind=kind, info=info), scene())
    assert reason(link(6, "over0", kind=kind), scene()) == ""


@pytest.mark.parametrize("kind", ["wireguard", "ipip", "sit", "gre", "ip6tnl", "geneve", "vxlan", "xfrm"])
def test_tunnels_with_routes(kind: str) -> None:
    ways = LinkUsage().ways._replace(tunnelled={6: "10.1.0.0/16 in table 52"})
    assert "route 10.1.0.0/16 in table 52" in reason(link(6, "wg0", kind=kind), scene(ways=ways))
    assert reason(link(6, "demo1", kind="macvlan"), scene(ways=ways)) == ""


@pytest.mark.parametrize("kind", ["netkit", "vxcan", "veth"])
def test_any_kind_of_pair(kind: str) -> None:
    assert "another network namespace" in reason(link(6, "lxc1", kind=kind, parent=2, parent_netns=3), scene())
    assert reason(link(6, "a", kind=kind, parent=7), scene(link(7, "b", kind=kind, parent=6))) == ""


@pytest.mark.parametrize("name", ["cilium_host", "flannel.1", "vxlan.calico", "cali12ab", "kube-ipvs0", "ovn-k8s-mp0"])
def test_links_of_network_plugins(name: str) -> None:
    assert "its name is one that" in reason(link(6, name, kind="dummy"), scene())
    assert "its name is one that" in reason(link(6, "x", altnames=(name,)), scene())


FUNCTIONS = [
    (Function("0000:03:10.0", "iavf", ("vf0",)), ""),  # on the host
    (Function("0000:03:10.0", "", ()), ""),  # nobody's
    (Function("0000:03:10.0", "vfio-pci", ()), "0000:03:10.0 is given out (driver vfio-pci"),  # a virtual machine's
    (Function("0000:03:10.0", "iavf", ()), "0000:03:10.0 is given out (driver iavf"),  # in a namespace of others
]


@pytest.mark.parametrize(("function", "why"), FUNCTIONS)
def test_virtual_functions(function: Function, why: str) -> None:
    """The physical function stays while one of them is given out."""
    found = reason(DEMO, scene(functions={5: [function]}))
    assert (why in found) if why else (found == "")


def test_a_virtual_function_that_a_pod_has() -> None:
    """It is known by its place on the bus; the pod is named."""
    seen = scene(functions={5: [FUNCTIONS[0][0]]}, held=(holder(Identity(bus="pci", bus_device="0000:03:10.0")),))
    assert reason(DEMO, seen) == "pod default/b has its virtual function 0000:03:10.0"


def test_malformed_data_is_no_reason() -> None:
    """Shorter than it should be."""
    for info in (b"\x08\x00\x03", struct.pack("=HH", 4, 3), struct.pack("=HHH", 6, 3, 5)):
        assert reason(DEMO, scene(link(6, "over0", kind="vxlan", info=info))) == ""
