"""A device the host cannot bring up, or cannot take back: the stop ends all the same, and says what is so."""

import pytest

from crishim.errors import CrishimError, Kind
from crishim.netdev.records import PodRef, State
from crishim.netdev.return_device import REFUSALS
from tests.node.netdev.lab import Lab

pytestmark = pytest.mark.node


def macvlan(lab: Lab) -> None:
    """mv0 on parent0: UP, with an address and a route."""
    lab.demo("parent0")
    lab.ip("link add mv0 link parent0 type macvlan mode bridge")
    lab.ip("link set mv0 up")
    lab.ip("addr add 192.0.2.50/24 dev mv0")
    lab.ip("route add 10.5.0.0/16 via 192.0.2.1 dev mv0")


def take_its_mac(lab: Lab, pod: PodRef) -> None:
    """The pod sets the device down, which frees its MAC on the parent, and mv1 takes it."""
    mac = lab.json("link show net1", pod.netns)[0]["address"]
    lab.ip("link set net1 down", pod.netns)
    lab.ip(f"link add mv1 link parent0 address {mac} type macvlan mode bridge")
    lab.ip("link set mv1 up")


async def test_a_mac_that_another_macvlan_took_meanwhile(lab: Lab) -> None:
    """EADDRINUSE: returned, down, and why; addresses are on it; up again when its pod is removed and the MAC free."""
    macvlan(lab)
    before = lab.picture("mv0")
    pod = lab.pod()
    await lab.attach(pod, ("mv0", "net1"))
    take_its_mac(lab, pod)
    (returned,) = await lab.devices.return_devices(pod)
    assert returned.state is State.DOWN
    assert returned.status == "returned, down: Address already in use"
    assert any("mv0 is back but cannot be brought up: Address already in use" in w for w in returned.warnings)
    down = lab.picture("mv0")
    assert (down["flags"], down["addresses"]) == (["MULTICAST"], before["addresses"])
    assert [a.state for a in await lab.devices.return_devices(pod)] == [State.DOWN]
    lab.ip("link del mv1")
    await lab.devices.forget(pod.id)
    assert lab.picture("mv0") == before
    assert list(lab.journal.iterdir()) == []


async def test_a_device_that_is_down_goes_to_the_next_pod(builtin_lab: Lab) -> None:
    """A restart keeps the record; the next pod gets the device once it can be up, and it returns with its routes."""
    lab = builtin_lab
    macvlan(lab)
    before = lab.picture("mv0")
    pod = lab.pod()
    await lab.attach(pod, ("mv0", "net1"), run=False)
    take_its_mac(lab, pod)
    await lab.devices.return_devices(pod)
    lab.devices = lab.driver()
    assert [a.state for a in await lab.devices.recover([pod])] == [State.DOWN]
    other = lab.pod("pod-b")
    with pytest.raises(CrishimError, match="could not be moved"):
        await lab.attach(other, ("mv0", "net1"), run=False)  # it would have to be up there
    assert [a.state for a in lab.devices.attachments()] == [State.DOWN]
    lab.ip("link del mv1")
    await lab.attach(other, ("mv0", "net1"), run=False)
    assert [a.pod.id for a in lab.devices.attachments()] == [other.id]
    await lab.devices.return_devices(other)
    assert lab.picture("mv0") == before
    assert list(lab.journal.iterdir()) == []


async def test_a_kernel_that_refuses_the_move(builtin_lab: Lab) -> None:
    """Every name it could have on the host is taken: stops fail a few times, then it is LOST and they end."""
    lab = builtin_lab
    lab.demo()
    pod = lab.pod()
    (attached,) = await lab.attach(pod, ("demo0", "net1"), run=False)
    names = ["demo0", *(f"demo0-{attached.id[n : n + 4]}" for n in range(13))]
    lab.batch([f"link add {name} type ifb" for name in dict.fromkeys(names)])
    for _ in range(REFUSALS - 1):
        with pytest.raises(CrishimError, match="demo0 of pod default/pod-a could not be returned") as caught:
            await lab.devices.return_devices(pod)
        assert caught.value.kind is Kind.INTERNAL
    lab.devices = lab.driver()  # a restart is no way round the bound: its recovery tries, too
    (lost,) = await lab.devices.recover([pod])
    assert lost.state is State.LOST
    assert "refuses to move it back: no name is free on the host" in lost.reason
    lab.ip(f"link del {names[1]}")
    (returned,) = await lab.devices.return_devices(pod)
    assert returned.state is State.DONE
