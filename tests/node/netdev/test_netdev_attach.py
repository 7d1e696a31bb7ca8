"""Devices into a pod: acceptance cases 1 to 14 and 20, under every mover."""

import contextlib

import pytest

from crishim.errors import CrishimError, Kind
from crishim.netdev.records import State
from netdev_lab import Lab, request

pytestmark = pytest.mark.node


def make_demo(lab: Lab, name: str = "demo0") -> None:
    """A veth with carrier, IPv4 and IPv6 addresses that are verified, MTU 1400."""
    lab.ip(f"link add {name} mtu 1400 type veth peer name {name}-peer mtu 1400")
    lab.ip(f"link set {name}-peer up")
    lab.ip(f"link set {name} up")
    lab.ip(f"addr add 192.0.2.7/24 dev {name}")
    lab.ip(f"addr add 2001:db8::7/64 dev {name} nodad")


async def test_first(lab: Lab) -> None:
    """First light."""
    make_demo(lab)
    before = lab.picture("demo0")
    pod = lab.pod()
    attached = await lab.attach(pod, ("demo0", "net1"))
    print(attached)
    print(lab.ip("addr", pod.netns))
    assert lab.link("demo0") is None
    assert (await lab.devices.return_devices(pod))[0].state is State.DONE
    assert lab.picture("demo0") == before
