"""A pod that passes another device off as the host's: the impostor stays in the pod, the real one is found or LOST."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from crishim.linux import netns_thread
from crishim.linux.netlink import links
from crishim.netdev.records import Attachment, PodRef, State
from tests.node.netdev.furniture import furnish
from tests.node.netdev.lab import Lab

pytestmark = pytest.mark.node


def swap_mark(lab: Lab, pod: PodRef, attached: Attachment, onto: str) -> None:
    """Our altname goes from the device to another link, with the name and MAC it had."""
    lab.ip(f"link property del dev net1 altname {attached.altname}", pod.netns)
    lab.ip("link set net1 down name real", pod.netns)
    mac = lab.json("link show real", pod.netns)[0]["address"]
    lab.ip(f"link set {onto} down", pod.netns)
    lab.ip(f"link set {onto} address {mac}", pod.netns, check=False)  # an ifb has its own
    lab.ip(f"link set {onto} name net1", pod.netns)
    lab.ip(f"link property add dev net1 altname {attached.altname}", pod.netns)
    lab.ip("link set net1 up", pod.netns)


@pytest.mark.parametrize("onto", ["eth0", "fake0", "twin0"])
async def test_the_mark_on_another_link(lab: Lab, onto: str) -> None:
    """On eth0, an ifb, a veth of the pod's own: the real device is back as it was, the other one still in the pod."""
    before = furnish(lab)
    pod = lab.pod()
    (attached,) = await lab.attach(pod, ("demo0", "net1"))
    lab.ip("link add fake0 type ifb", pod.netns)
    lab.ip("link add twin0 type veth peer name twin1", pod.netns)
    swap_mark(lab, pod, attached, onto)
    there = lab.json("link show net1", pod.netns)[0]["ifindex"]
    (returned,) = await lab.devices.return_devices(pod)
    assert returned.state is State.DONE
    assert lab.picture("demo0") == before
    assert lab.json("link show net1", pod.netns)[0]["ifindex"] == there


def deleted(lab: Lab, pod: PodRef) -> None:
    lab.ip("link del net1", pod.netns)


def moved_away(lab: Lab, pod: PodRef) -> None:
    nested = lab.namespace("nested")

    def work(inside: netns_thread.Netns, away: netns_thread.Netns) -> None:
        link = links.get(inside.netlink, "net1")
        assert link is not None
        links.move(inside.netlink, link.index, away.fd, "hidden", up=False)

    netns_thread.in_namespaces_thread((pod.netns, nested), work)


@pytest.mark.parametrize("gone", [deleted, moved_away])
async def test_a_twin_with_the_same_ifindex(
    lab: Lab, gone: Callable[[Lab, PodRef], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Same ifindex, kind, peer's ifindex, name, MAC, altname: LOST, said as an error; nothing new is on the host."""
    lab.demo()
    pod = lab.pod(cni=False)
    (attached,) = await lab.attach(pod, ("demo0", "net1"))
    was = lab.json("link show net1", pod.netns)[0]
    gone(lab, pod)
    host = lab.names()
    twin = f"link add net1 index {was['ifindex']} address {was['address']} type veth peer name back1"
    lab.ip(f"{twin} index {was['link_index']}", pod.netns)
    lab.ip(f"link property add dev net1 altname {attached.altname}", pod.netns)
    lab.ip("link set net1 up", pod.netns)
    with caplog.at_level(logging.INFO, "crishim.netdev"):
        (lost,) = await lab.devices.return_devices(pod)
    assert lost.state is State.LOST
    assert "net1 there carries its mark and is another device" in lost.reason
    assert [r for r in caplog.records if r.levelno == logging.ERROR and getattr(r, "reason", "") == lost.reason]
    assert lab.names() == host
    assert "net1" in lab.names(pod.netns)
    assert [a.state for a in await lab.devices.return_devices(pod)] == [State.LOST]


async def test_a_device_that_left_the_pod_and_came_back(lab: Lab) -> None:
    """Into a nested namespace and back, without mark and with another ifindex: still the host's own."""
    before = furnish(lab)
    pod = lab.pod()
    (attached,) = await lab.attach(pod, ("demo0", "net1"))
    nested = lab.namespace("nested")

    def work(inside: netns_thread.Netns, away: netns_thread.Netns) -> None:
        link = links.get(inside.netlink, "net1")
        assert link is not None
        links.remove_altname(inside.netlink, link.index, attached.altname)
        links.move(inside.netlink, link.index, away.fd, "hidden", up=False)
        links.move(away.netlink, link.index, inside.fd, "elsewhere", up=False, new_index=4711)

    netns_thread.in_namespaces_thread((pod.netns, nested), work)
    lab.ip(f"link add net1 index {attached.index} type veth peer name back1", pod.netns)
    (returned,) = await lab.devices.return_devices(pod)
    assert returned.state is State.DONE
    assert lab.picture("demo0") == before


async def test_an_impostor_is_not_given_to_the_next_container(lab: Lab) -> None:
    """A restarted container of a pod that swapped the device: the real one is its net1 again."""
    lab.demo()
    pod = lab.pod()
    (attached,) = await lab.attach(pod, ("demo0", "net1"))
    lab.ip("link add fake0 type ifb", pod.netns)
    swap_mark(lab, pod, attached, "fake0")
    lab.ip("link set net1 down name fake0", pod.netns)
    await lab.attach(pod, ("demo0", "net1"))
    found: Any = lab.json("link show net1", pod.netns)[0]
    assert (found["ifindex"], found["linkinfo"]["info_kind"]) == (attached.index, "veth")
    assert attached.altname in found["altnames"]
