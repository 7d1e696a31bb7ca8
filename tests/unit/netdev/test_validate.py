"""Checks over what was read: merging requests, refusals, names."""

from typing import Any

import pytest

from crishim.device_rules import Rule
from crishim.errors import CrishimError, Kind
from crishim.linux.netlink.links import Link
from crishim.netdev.policy import Policy, Terms
from crishim.netdev.records import Attachment, Captured, DeviceRequest, Mover, PodRef, Source, State
from crishim.netdev.validate import MergedRequest, RequestContext, assign_names, resolve

ANYTHING = Terms(Policy([Rule(devices=["*"], namespaces=["*"])]))
POD = PodRef(id="pod-a", netns="/run/a", title="default/a")


def link(index: int, name: str, **fields: Any) -> Link:
    return Link(index=index, name=name, **fields)


def attachment(pod: PodRef, host: Captured, name: str, wanted: str = "") -> Attachment:
    return Attachment(
        id="0" * 16,
        pod=pod,
        netns_inode=1,
        state=State.READY,
        mover=Mover.BUILTIN,
        sources=("annotation",),
        wanted=wanted or name,
        name=name,
        host=host,
    )


def view(*host: Link, pod: tuple[Link, ...] = (), held: tuple[Attachment, ...] = ()) -> RequestContext:
    return RequestContext(POD, host, (link(1, "lo"), link(2, "eth0"), *pod), held, ANYTHING)


def ask(device: str, name: str = "", source: Source = Source.ANNOTATION, origin: str = "") -> DeviceRequest:
    return DeviceRequest(device=device, name=name, source=source, origin=origin)


def plan(requests: list[DeviceRequest], seen: RequestContext) -> list[tuple[str, str]]:
    return [(merged.device, name) for merged, name in assign_names(resolve(requests, seen), seen)]


def refused(requests: list[DeviceRequest], seen: RequestContext, kind: Kind = Kind.PRECONDITION) -> str:
    with pytest.raises(CrishimError) as caught:
        plan(requests, seen)
    assert caught.value.kind is kind
    return str(caught.value)


def test_requests_for_one_device_are_merged_in_order() -> None:
    """CDI, NRI and annotation ask for the same: one merged that knows them all, by name and altname."""
    seen = view(link(5, "demo0", altnames=("also",)))
    asked = [ask("demo0", "net1", Source.CDI, "v/c=a"), ask("also", "net1", Source.NRI), ask("demo0", "net1")]
    assert resolve(asked, seen) == [
        MergedRequest("demo0", "net1", ("cdi: v/c=a", "nri", "annotation"), link=seen.host_links[0]),
    ]


def test_no_name_keeps_the_hosts() -> None:
    """Without a name the device keeps its own, and saying so explicitly is no second name."""
    assert plan([ask("demo0"), ask("demo0", "demo0")], view(link(5, "demo0"))) == [("demo0", "demo0")]


def test_fixed_names_go_before_templates() -> None:
    """A template does not take a number that another device of the container has by name."""
    seen = view(link(5, "a"), link(6, "b"), link(7, "c"))
    assert plan([ask("a", "net%d"), ask("b", "net0"), ask("c", "net%d")], seen) == [
        ("b", "net0"),
        ("a", "net1"),
        ("c", "net2"),
    ]


def test_a_device_in_this_pod_is_kept() -> None:
    """By its host name and altname, under its name or the template it came by; and it is not moved again."""
    mine = attachment(POD, Captured(index=5, name="demo0", altnames=("also",)), "net1", "net%d")
    seen = view(held=(mine,), pod=(link(3, "net1"),))
    for request in (ask("demo0", "net1"), ask("also", "net%d")):
        assert resolve([request], seen) == [MergedRequest("demo0", "net%d", ("annotation",), attachment=mine)]
        assert plan([request], seen) == []
    assert "net1" in refused([ask("demo0", "net2")], seen)


def test_this_pods_device_wins_over_a_new_one_of_that_name() -> None:
    """A namesake that appeared on the host meanwhile is not what the container's restart means."""
    mine = attachment(POD, Captured(index=5, name="demo0"), "net1")
    assert plan([ask("demo0", "net1")], view(link(9, "demo0"), held=(mine,), pod=(link(3, "net1"),))) == []


def test_a_device_of_another_pod_names_the_holder() -> None:
    """ABORTED with the other pod; but a namesake on the host is free to take."""
    other = attachment(PodRef(id="pod-b", netns="/run/b", title="default/b"), Captured(index=5, name="demo0"), "net1")
    assert "default/b" in refused([ask("demo0", "net1")], view(held=(other,)), Kind.ABORTED)
    assert plan([ask("demo0", "net1")], view(link(9, "demo0"), held=(other,))) == [("demo0", "net1")]


def test_an_unknown_device() -> None:
    """NOT_FOUND with its name."""
    assert "none0" in refused([ask("none0")], view(), Kind.NOT_FOUND)


def test_a_pod_without_a_namespace() -> None:
    """PRECONDITION before anything is looked up."""
    seen = view(link(5, "demo0"))._replace(pod=PodRef(id="x", netns=""))
    assert "host's network" in refused([ask("demo0")], seen)


@pytest.mark.parametrize(
    ("device", "others", "why"),
    [
        (link(5, "demo0", flags=8), (), "loopback"),
        (link(5, "demo0", kind="bridge"), (), "kind"),
        (link(5, "demo0", immovable=True), (), "kind"),
        (link(5, "demo0", master=7), (link(7, "br0"),), "br0"),
        (link(5, "demo0"), (link(7, "slave", master=5),), "slave"),
        (link(5, "demo0"), (link(7, "vlan7", parent=5, kind="vlan"),), "vlan7"),
        (link(5, "demo0", altnames=("eth0-alias", "taken")), (), "taken"),
    ],
)
def test_links_that_stay(device: Link, others: tuple[Link, ...], why: str) -> None:
    """Each refusal says which thing of the host or the pod stands against it."""
    text = refused([ask("demo0", "net1")], view(device, *others, pod=(link(3, "x", altnames=("taken",)),)))
    assert "demo0" in text
    assert why in text


def test_a_device_brought_back_by_hand() -> None:
    """A link that carries the altname of a pod's attachment is that pod's, whoever moved it; its journal settles it."""
    other = attachment(PodRef(id="pod-b", netns="/run/b", title="default/b"), Captured(index=9, name="gone0"), "net1")
    text = refused([ask("demo0", "net1")], view(link(5, "demo0", altnames=(other.altname,)), held=(other,)))
    assert "default/b" in text


def test_a_veth_peer_is_no_child() -> None:
    """A veth's peer refers to it like a child does, and so does a link in another namespace by chance."""
    peer = link(6, "peer", parent=5, kind="veth")
    stranger = link(7, "mv", parent=5, kind="macvlan", parent_netns=0)
    assert plan([ask("demo0", "net1")], view(link(5, "demo0", kind="veth", parent=6), peer, stranger))


@pytest.mark.parametrize("name", ["eth0", "net1", "alias"])
def test_names_taken_in_the_pod(name: str) -> None:
    """eth0, an interface, an altname; the owner is named where it is a device of ours."""
    mine = attachment(POD, Captured(index=9, name="demo9"), "net1")
    text = refused(
        [ask("demo0", name)], view(link(5, "demo0"), pod=(link(3, "net1", altnames=("alias",)),), held=(mine,))
    )
    assert name in text
    assert ("demo9" in text) == (name != "eth0")


def test_two_devices_one_name() -> None:
    """Both devices and both askers are named; two templates are no clash."""
    seen = view(link(5, "a"), link(6, "b"))
    text = refused([ask("a", "net1", Source.CDI, "v/c=x"), ask("b", "net1")], seen)
    assert all(word in text for word in ("a (cdi: v/c=x)", "b (annotation)", "net1"))
    assert plan([ask("a", "net%d"), ask("b", "net%d")], seen) == [("a", "net0"), ("b", "net1")]
