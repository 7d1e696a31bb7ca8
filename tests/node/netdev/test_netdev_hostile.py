"""What a privileged pod may do to its device, and what happens to it: acceptance cases 16 and 21."""

from pathlib import Path

import pytest

from crishim.errors import CrishimError, Kind
from crishim.linux import namespaces, netns_thread
from crishim.linux.netlink import links
from crishim.netdev.records import PodRef, State
from tests.node.netdev.furniture import furnish
from tests.node.netdev.lab import Lab

pytestmark = pytest.mark.node


def spoil(lab: Lab, pod: PodRef) -> None:
    """What a privileged pod may do to its device."""
    lab.ip("link set net1 down", pod.netns)
    lab.ip("link set net1 name mine", pod.netns)
    lab.ip("link set mine address 02:00:00:00:00:99 mtu 1350 alias ha txqueuelen 5", pod.netns)
    lab.ip("addr flush dev mine", pod.netns)
    lab.ip("addr add 203.0.113.77/24 dev mine", pod.netns)
    lab.ip("link property add dev mine altname orphan", pod.netns)
    lab.ip("link set mine up promisc on", pod.netns)


async def test_a_device_the_pod_changed_is_found_and_restored(lab: Lab) -> None:
    """Renamed, another MAC, MTU, alias, addresses and altname: found, and restored to the host's values (16)."""
    before = furnish(lab)
    pod = lab.pod()
    (attached,) = await lab.attach(pod, ("demo0", "net1"))
    spoil(lab, pod)
    lab.ip(f"link property del dev mine altname {attached.altname}", pod.netns)
    (returned,) = await lab.devices.return_devices(pod)
    assert returned.state is State.DONE
    assert lab.picture("demo0") == before


def carry_off(lab: Lab, pod: PodRef, target: Path) -> None:
    """Move net1 from the pod into another namespace."""

    def work(inside: netns_thread.Netns, away: netns_thread.Netns) -> None:
        link = links.get(inside.netlink, "net1")
        assert link is not None
        links.move(inside.netlink, link.index, away.fd, "hidden", up=False)

    netns_thread.in_namespaces_thread((pod.netns, target), work)


async def test_a_device_in_a_nested_namespace_is_lost(lab: Lab) -> None:
    """LOST with a reason, the stop succeeds, twice; when it turns up again it is returned; else forgotten (16)."""
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    nested = lab.namespace("nested")
    carry_off(lab, pod, nested)
    (lost,) = await lab.devices.return_devices(pod)
    assert lost.state is State.LOST
    assert "neither on the host nor in its pod" in lost.reason
    assert [a.state for a in await lab.devices.return_devices(pod)] == [State.LOST]
    assert lab.devices.attachments() == [lost]

    def bring(away: netns_thread.Netns, host: netns_thread.Netns) -> None:
        link = links.get(away.netlink, "hidden")
        assert link is not None
        links.move(away.netlink, link.index, host.fd, "found", up=False)

    netns_thread.in_namespaces_thread((nested, lab.host), bring)
    assert [a.state for a in await lab.devices.return_devices(pod)] == [State.DONE]
    after = lab.picture("demo0") | {"ifindex": before["ifindex"]}  # its finder did not care for the ifindex
    assert after == before


async def test_a_lost_device_is_forgotten_with_its_pod(builtin_lab: Lab) -> None:
    """forget() drops the LOST record; its name on the host may then be used by a new device, also before."""
    lab = builtin_lab
    lab.demo()
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    lab.ip("link del net1", pod.netns)
    assert (await lab.devices.return_devices(pod))[0].state is State.LOST
    before = lab.demo()
    other = lab.pod("pod-b")
    await lab.attach(other, ("demo0", "net1"), run=False)
    await lab.devices.forget(pod.id)
    assert [a.pod.id for a in lab.devices.attachments()] == [other.id]
    await lab.devices.return_devices(other)
    assert lab.picture("demo0") == before
    assert list(lab.journal.iterdir()) == []


async def test_a_device_that_died_in_the_pod_may_be_asked_for_again(builtin_lab: Lab) -> None:
    """A new device of that name on the host is attached; without one the request is NOT_FOUND."""
    lab = builtin_lab
    lab.demo()
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    lab.ip("link del net1", pod.netns)
    with pytest.raises(CrishimError) as caught:
        await lab.attach(pod, ("demo0", "net1"), run=False)
    assert caught.value.kind is Kind.NOT_FOUND
    before = lab.demo()
    (again,) = await lab.attach(pod, ("demo0", "net1"), run=False)
    assert again.state is State.READY
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_a_macvlan_dies_with_its_parent(lab: Lab) -> None:
    """The parent is deleted while the pod has the macvlan: LOST, the stop succeeds (21)."""
    lab.demo("parent0")
    lab.ip("link add mv0 link parent0 type macvlan")
    pod = lab.pod()
    await lab.attach(pod, ("mv0", "net1"))
    lab.ip("link del parent0")
    (lost,) = await lab.devices.return_devices(pod)
    assert lost.state is State.LOST
    assert lost.reason
    await lab.devices.forget(pod.id)


async def test_a_pod_that_floods_the_device_with_altnames(builtin_lab: Lab) -> None:
    """As many altnames as the kernel takes, nearly 64 KiB of them: all are off again, the device is back."""
    lab = builtin_lab
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)

    def flood(inside: netns_thread.Netns) -> int:
        link = links.get(inside.netlink, "net1")
        assert link is not None
        for number in range(1000):
            try:
                links.add_altname(inside.netlink, link.index, f"{number:0120}")
            except OSError:
                return number
        return 1000

    assert netns_thread.in_namespaces_thread((pod.netns,), flood) > 400
    (returned,) = await lab.devices.return_devices(pod)
    assert returned.state is State.DONE
    assert lab.picture("demo0") == before


async def test_a_device_in_a_bridge_of_the_pod(lab: Lab) -> None:
    """The pod made it a bridge's port and put a macvlan on a second one: both come home, alone."""
    before = [furnish(lab), lab.demo("demo1")]
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), ("demo1", "net2"))
    for words in ("link add br0 type bridge", "link set net1 master br0", "link add mv0 link net2 type macvlan"):
        lab.ip(words, pod.netns)
    await lab.devices.return_devices(pod)
    assert [lab.picture("demo0"), lab.picture("demo1")] == before


async def test_a_device_in_a_nested_namespace_comes_home_if_it_was_held(builtin_lab: Lab) -> None:
    """Looked for before the pod's processes end, it is back as it was when only we keep that namespace."""
    lab = builtin_lab
    before = lab.demo()
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    nested = lab.namespace("nested")
    carry_off(lab, pod, nested)
    lab.ip("link set hidden name mine mtu 1300", nested)
    await lab.devices.hold_namespaces(pod.id)
    await lab.devices.hold_namespaces(pod.id)
    namespaces.unpin(nested)
    (returned,) = await lab.devices.return_devices(pod)
    assert (returned.state, returned.warnings) == (State.DONE, ())
    assert lab.picture("demo0") == before
    assert not lab.devices._nested.handles(pod.id)


async def test_a_container_made_anew_has_the_device_that_its_predecessor_hid(builtin_lab: Lab) -> None:
    """Held when that was stopped, it goes home and into the pod again."""
    lab = builtin_lab
    lab.demo()
    pod = lab.pod()
    (first,) = await lab.attach(pod, ("demo0", "net1"))
    nested = lab.namespace("nested")
    carry_off(lab, pod, nested)
    await lab.devices.hold_namespaces(pod.id)
    namespaces.unpin(nested)
    (again,) = await lab.attach(pod, ("demo0", "net1"))
    assert (again.state, again.name, again.addresses) == (State.READY, "net1", first.addresses)
    await lab.devices.return_devices(pod)
    assert not lab.devices._nested.handles(pod.id)


async def test_nothing_is_held_of_a_pod_whose_devices_are_in_place(builtin_lab: Lab) -> None:
    lab = builtin_lab
    lab.demo()
    pod = lab.pod()
    await lab.devices.hold_namespaces(pod.id)
    await lab.attach(pod, ("demo0", "net1"))
    lab.ip("link set net1 name mine", pod.netns)
    await lab.devices.hold_namespaces(pod.id)
    assert not lab.devices._nested.handles(pod.id)
    await lab.devices.return_devices(pod)
