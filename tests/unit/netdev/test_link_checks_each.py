"""The checks of link_checks.py one by one: what is said, in which order, and when nothing is."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any

import pytest
from msgspec.structs import replace

from crishim.linux.device_tree import Function
from crishim.linux.netlink.links import IFF_LOOPBACK, Link
from crishim.linux.netlink.rtnetlink import attribute
from crishim.netdev.host_routes import RouteUsage
from crishim.netdev.link_checks import HostState, reason
from crishim.netdev.link_usage import LinkUsage
from crishim.netdev.records import Attachment, Captured, State
from tests.unit.netdev.fake_links import attachment, veth

LOW, HIGH = bytes([192, 0, 2, 7]), bytes([192, 0, 2, 9])


class Backwards(frozenset[bytes]):
    """Addresses in an order that is not the one to be told."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(sorted(super().__iter__(), reverse=True))

    def __and__(self, other: AbstractSet[object]) -> "Backwards":
        return Backwards(super().__and__(other))


DEMO = Link(index=5, name="demo0", kind="ifb")
OWNED: dict[str, Any] = {
    "addresses": {5: Backwards({HIGH, LOW})},
    "owners": {LOW: frozenset({5}), HIGH: frozenset({5})},
}


def ways(**found: Any) -> RouteUsage:
    return RouteUsage({}, {}, {}, frozenset())._replace(**found)


def scene(
    *others: Link, held: tuple[Attachment, ...] = (), around: dict[str, Any] | None = None, **more: Any
) -> HostState:
    return HostState((DEMO, *others), held, LinkUsage(**{**OWNED, **(around or {})}), **more)


@pytest.mark.parametrize(
    ("link", "said"),
    [
        (replace(DEMO, flags=IFF_LOOPBACK), "it is the loopback interface"),
        (replace(DEMO, flags=1), ""),
        (replace(DEMO, immovable=True), "its kind cannot leave its namespace"),
        (replace(DEMO, kind="bridge"), "its kind cannot leave its namespace"),
        (replace(DEMO, master=6), "it belongs to br0"),
        (replace(DEMO, master=9), "it belongs to link 9"),  # which the host does not show
        (replace(DEMO, name="x\udcff"), "a name or the alias of it is not UTF-8"),
        (replace(DEMO, altnames=("x\udcff",)), "a name or the alias of it is not UTF-8"),
        (replace(DEMO, alias="x\udcff"), "a name or the alias of it is not UTF-8"),
        (replace(DEMO, alias="straße"), ""),
        (replace(DEMO, name="cali0"), "its name is one that Calico gives its own"),
    ],
)
def test_what_the_link_itself_says(link: Link, said: str) -> None:
    assert reason(link, scene(Link(index=6, name="br0", kind="bridge"))) == said


def test_what_the_pods_network_is_built_on() -> None:
    """By name or altname."""
    built = scene(network_links=("uplink", "other"))
    said = "the CNI network of the pods is built on it"
    assert reason(replace(DEMO, name="uplink"), built) == said
    assert reason(replace(DEMO, altnames=("uplink",)), built) == said
    assert reason(DEMO, built) == ""


def test_what_stands_on_it() -> None:
    """A port, another namespace's link; not itself, nor a link whose lower one is in another namespace."""
    assert reason(DEMO, scene(Link(index=6, name="port0", master=5))) == "port0 depends on it"
    assert reason(DEMO, scene(Link(index=6, name="mv0", kind="macvlan", parent=5, parent_netns=0))) == ""
    assert reason(DEMO, scene(around={"above": {5: "mv0 in the network namespace of x"}})) == (
        "mv0 in the network namespace of x depends on it"
    )
    assert reason(DEMO, scene(around={"above": {6: "mv0"}})) == ""
    elsewhere = Link(index=6, name="gre0", kind="gre", info=attribute(6, bytes([192, 0, 2, 99])))
    assert reason(DEMO, scene(elsewhere)) == ""
    own = replace(DEMO, kind="vxlan", info=attribute(4, LOW))
    assert reason(own, HostState((own,), (), LinkUsage(**OWNED))) == ""


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ({"kind": "macvlan", "parent": 5}, "mv0 in pod default/a depends on it"),
        ({"kind": "macvlan", "parent": 5, "parent_netns": 3}, ""),
        ({"kind": "macvlan", "parent": 6}, ""),
        ({"kind": "veth", "parent": 5}, ""),  # an ifb has no other end
    ],
)
def test_what_pods_have_of_it(host: dict[str, Any], said: str) -> None:
    """The host does not show any more what stands on it."""
    held = attachment(host=Captured(index=8, name="mv0", **host))
    assert reason(DEMO, scene(held=(held,))) == said


def test_the_other_end_of_a_pair() -> None:
    """In a pod of ours, or anywhere but here."""
    link = veth(5, "demo0", parent=6)
    pair = attachment(host=Captured(index=6, name="peer0", kind="veth", parent=5))
    assert reason(link, scene(held=(pair,))) == "its other end, peer0, is in pod default/a"
    for other in ({"parent": 7}, {"parent_netns": 1}, {"kind": "macvlan", "parent": 9}):
        known = replace(pair, host=replace(pair.host, **other))
        assert reason(link, scene(held=(known,))) == ""
    away = "its other end is in another network namespace, a pod's for all one can tell"
    assert reason(replace(link, parent_netns=0), scene()) == away
    assert reason(replace(DEMO, parent_netns=0), scene()) == ""


def test_the_nodes_own_traffic() -> None:
    """Its way out and its addresses: root's sources may have these, others' reasons stay."""
    out = scene(around={"ways": ways(wide={5: "the default in table main"})})
    assert reason(DEMO, out) == "the node's own traffic goes over it: route the default in table main"
    assert reason(DEMO, out, node_device_allowed=True) == ""
    assert reason(replace(DEMO, index=6), out) == ""
    own = scene(node_addresses=frozenset({LOW}))
    assert reason(DEMO, own) == "it has the node's address 192.0.2.7"
    assert reason(DEMO, own, node_device_allowed=True) == ""
    source = scene(around={"ways": ways(sources=frozenset({HIGH}))})
    assert reason(DEMO, source) == "it has the node's address 192.0.2.9"
    both = scene(around={"ways": ways(sources=frozenset({HIGH}))}, node_addresses=frozenset({LOW}))
    assert reason(DEMO, both) == "it has the node's address 192.0.2.7"
    assert reason(replace(DEMO, index=6), both) == ""


def test_routes_with_its_address_as_source() -> None:
    """The lowest address first; not if another link has it, too."""
    lent = {LOW: ("10.1.0.0/16 in table main", frozenset({7, 6})), HIGH: ("10.2.0.0/16 in table 9", frozenset())}
    others = (Link(index=6, name="eth1"), Link(index=7, name="eth0"))
    said = "route 10.1.0.0/16 in table main over eth0, eth1 has its address 192.0.2.7 as source"
    assert reason(DEMO, scene(*others, around={"ways": ways(borrowing=lent)})) == said
    hidden = "route 10.2.0.0/16 in table 9 has its address 192.0.2.9 as source"
    only = {HIGH: lent[HIGH]}
    assert reason(DEMO, scene(around={"ways": ways(borrowing=only)})) == hidden
    twice = {"owners": {HIGH: frozenset({5, 6}), LOW: frozenset({5})}, "ways": ways(borrowing=only)}
    assert reason(DEMO, scene(around=twice)) == ""
    first_twice = {"owners": {LOW: frozenset({5, 6}), HIGH: frozenset({5})}, "ways": ways(borrowing=lent)}
    assert reason(DEMO, scene(*others, around=first_twice)) == hidden


def test_tunnels_that_are_in_use() -> None:
    used = {"ways": ways(tunnelled={6: "10.1.0.0/16 in table main"})}
    tunnel = Link(index=6, name="tun0", kind="ipip")
    assert reason(tunnel, scene(around=used)) == "it is a tunnel that is in use: route 10.1.0.0/16 in table main"
    assert reason(replace(tunnel, index=7), scene(around=used)) == ""
    assert reason(replace(DEMO, index=6), scene(around=used)) == ""
    outside = replace(tunnel, kind="geneve", info=attribute(6, b""))
    assert reason(outside, scene()) == "it is a tunnel that others' routes and programs send through"


def test_several_virtual_functions() -> None:
    """Each is looked at; one of another device is nobody's business here."""
    here, out = Function("0000:03:10.0", "iavf", ("vf0",)), Function("0000:03:10.1", "vfio-pci", ())
    said = "its virtual function 0000:03:10.1 is given out (driver vfio-pci, no device here)"
    assert reason(DEMO, scene(around={"functions": {5: [here, out]}})) == said
    assert reason(DEMO, scene(around={"functions": {6: [here, out]}})) == ""


def test_a_device_of_a_pod_that_was_brought_back_by_hand() -> None:
    """Our mark says whose it is."""
    held = attachment(state=State.READY)
    marked = replace(DEMO, altnames=(held.altname,))
    other = attachment(id="f" * 16)
    assert reason(marked, scene(held=(other, held))) == "pod default/a has it, and somebody brought it back by hand"
    assert reason(marked, scene(held=(other,))) == ""
