"""What is made of a device by a runtime or a container is put right: acceptance cases 1, 10 to 12 and 14."""

from typing import Any

import pytest

from crishim.linux import netns_thread
from crishim.linux.netlink import links
from crishim.netdev.records import Mover
from tests.node.netdev.lab import Lab, request

pytestmark = pytest.mark.node


async def test_what_a_container_took_from_the_device_is_put_back_for_the_next(lab: Lab) -> None:
    """Down, renamed and without an address: the next container finds it named, UP and addressed; extras stay."""
    before = lab.demo()
    pod = lab.pod()
    (first,) = await lab.attach(pod, ("demo0", "net1"))
    lab.ip("link set net1 down", pod.netns)
    lab.ip("link set net1 name other", pod.netns)
    lab.ip("addr flush dev other scope global", pod.netns)
    lab.ip("addr add 198.51.100.1/32 dev other", pod.netns)
    await lab.attach(pod, ("demo0", "net1"))
    inside = lab.link("net1", pod.netns)
    assert inside is not None
    assert "UP" in inside["flags"]
    present = {f"{a['local']}/{a['prefixlen']}" for a in lab.addresses("net1", pod.netns)}
    assert present == {*first.addresses, "198.51.100.1/32"}
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


SLOPPY = {
    "down and bare": ["link set net1 down", "addr flush dev net1"],
    "crun: the old label": ["addr flush dev net1", "addr add 192.0.{n}.7/24 dev net1 label demo0", "link set net1 up"],
    "an invented broadcast": ["addr flush dev net1", "addr add 192.0.{n}.7/24 broadcast + dev net1"],
    "tentative": ["addr flush dev net1", "link set net1 up", "addr add 2001:db8:{n}::7/64 dev net1"],
    "too much": ["addr add 203.0.113.9/24 dev net1", "addr add 2001:db8:dead::1/64 dev net1"],
    "another MTU and MAC": ["link set net1 mtu 1300", "link set net1 address 02:00:00:00:00:07"],
    "the wrong name": ["link set net1 down", "link set net1 name demo0"],
}


@pytest.mark.parametrize("how", SLOPPY)
async def test_whatever_a_runtime_made_of_it_is_repaired(builtin_lab: Lab, how: str) -> None:
    """What OCI runtimes are known to do, and more: the pod sees the same device in the end (10 to 12, 14)."""
    lab = builtin_lab
    before = lab.demo()
    perfect, pod = lab.pod("pod-a"), lab.pod("pod-b")
    await lab.attach(perfect, ("demo0", "net1"), run=False)
    wanted = [lab.addresses("net1", perfect.netns), lab.link("net1", perfect.netns)]
    await lab.devices.return_devices(perfect)
    async with await lab.devices.plan([request("demo0", "net1")], pod, Mover.RUNTIME) as plan:
        await plan.begin()
        assert plan.entries == {"demo0": {"name": "net1"}}
        netns_thread.in_namespaces_thread((lab.host, pod.netns), move_as_a_runtime)
        for words in SLOPPY[how]:
            lab.ip(words.format(n=sum(b"demo0") % 200), pod.netns)
        (attached,) = await plan.verify_and_repair()
    assert attached.warnings == ()
    found = [lab.addresses("net1", pod.netns), lab.link("net1", pod.netns)]
    ignored = ("ifindex", "altnames", "link_netnsid", "operstate", "inet6_addr_gen_mode", "carrier_up_count", "flags")

    def comparable(picture: list[Any]) -> list[Any]:
        addresses, link = picture
        return [addresses, {k: v for k, v in link.items() if k not in ignored}, "UP" in link["flags"]]

    assert comparable(found) == comparable(wanted)
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


def move_as_a_runtime(host: netns_thread.Netns, pod: netns_thread.Netns) -> None:
    link = links.get(host.netlink, "demo0")
    assert link is not None
    links.move(host.netlink, link.index, pod.fd, "net1", up=True)
