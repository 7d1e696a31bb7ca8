"""Devices back on the host: acceptance cases 5, 15 to 18, 21 and 24, under every mover."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crishim.linux import namespaces
from crishim.netdev.records import PodRef, State
from tests.node.netdev.furniture import furnish
from tests.node.netdev.lab import Lab

pytestmark = pytest.mark.node


async def test_everything_comes_back(lab: Lab) -> None:
    """Name, ifindex, MTU, MAC, alias, altname, addresses, routes of every table, settings, UP (15)."""
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    (returned,) = await lab.devices.return_devices(pod)
    assert returned.warnings == ()
    assert lab.picture("demo0") == before
    assert list(lab.journal.iterdir()) == []


async def test_a_multipath_route_comes_back_whole(builtin_lab: Lab) -> None:
    """Routes over this device and another, of both families, have all their hops and weights after the return."""
    lab = builtin_lab
    lab.demo("demo0")
    lab.demo("demo1")
    first, second = (sum(name) % 200 for name in (b"demo0", b"demo1"))
    lab.ip(
        f"route add 10.9.0.0/16 nexthop via 192.0.{first}.1 dev demo0 weight 2 nexthop via 192.0.{second}.1 dev demo1"
    )
    lab.ip(
        f"-6 route add 2001:db8:bbbb::/48 nexthop via 2001:db8:{first}::1 dev demo0 weight 3 "
        f"nexthop via 2001:db8:{second}::1 dev demo1"
    )

    def hops() -> list[Any]:
        routes = lab.json("-4 route show 10.9.0.0/16") + lab.json("-6 route show 2001:db8:bbbb::/48")
        return [sorted((h["dev"], h["gateway"], h["weight"]) for h in r.get("nexthops", [])) for r in routes]

    before = lab.picture("demo0"), hops()
    assert [len(h) for h in before[1]] == [2, 2]
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    (returned,) = await lab.devices.return_devices(pod)
    assert returned.warnings == ()
    assert (lab.picture("demo0"), hops()) == before


async def test_a_device_that_was_down_is_down_again(lab: Lab) -> None:
    """UP in the pod, DOWN with its addresses on the host before and after."""
    lab.ip("link add demo0 type veth peer name demo0-peer")
    lab.ip("addr add 192.0.2.1/24 dev demo0")
    before = lab.picture("demo0")
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    inside = lab.link("net1", pod.netns)
    assert inside is not None
    assert "UP" in inside["flags"]
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_returning_twice_is_fine(lab: Lab) -> None:
    """The second return finds nothing to do and says so (15); so does one for a pod that never had a device."""
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    assert len(await lab.devices.return_devices(pod)) == 1
    assert await lab.devices.return_devices(pod) == ()
    assert await lab.devices.return_devices(PodRef(id="nobody", netns="")) == ()
    assert lab.picture("demo0") == before


async def test_a_leaked_descriptor_keeps_nothing_away(lab: Lab) -> None:
    """Somebody keeps the pod's namespace open: the device is back all the same (15)."""
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    leaked = os.open(pod.netns, os.O_RDONLY)
    try:
        await lab.devices.return_devices(pod)
        assert lab.picture("demo0") == before
    finally:
        os.close(leaked)


async def test_another_ifindex_when_the_old_one_is_taken(lab: Lab) -> None:
    """The old ifindex is somebody else's by now: a new one, routes and all; no warning is due (15)."""
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    lab.ip(f"link add squatter index {before['ifindex']} type ifb")
    await lab.devices.return_devices(pod)
    after = lab.picture("demo0")
    assert after["ifindex"] != before["ifindex"]
    assert {k: v for k, v in after.items() if k != "ifindex"} == {k: v for k, v in before.items() if k != "ifindex"}


async def test_a_host_name_taken_meanwhile(lab: Lab) -> None:
    """Fallback name and a warning that has both names; the squatter is untouched (17)."""
    before = furnish(lab)
    pod = lab.pod()
    (attached,) = await lab.attach(pod, ("demo0", "net1"))
    lab.ip("link add demo0 type ifb")
    squatter = lab.picture("demo0")
    (returned,) = await lab.devices.return_devices(pod)
    fallback = f"demo0-{attached.id[:4]}"
    assert returned.state is State.DONE
    assert any("demo0" in w and fallback in w for w in returned.warnings)
    after = lab.picture(fallback)
    assert lab.picture("demo0") == squatter
    labels = [{k: v for k, v in a.items() if k != "label"} for a in after["addresses"]]
    assert labels == [{k: v for k, v in a.items() if k != "label"} for a in before["addresses"]]
    for same in ("ifindex", "mtu", "address", "altnames", "settings", "flags"):
        assert after[same] == before[same]


async def test_the_next_attempt_of_the_pod_gets_the_device(lab: Lab) -> None:
    """Stop, then a new sandbox of the same pod: attach works (18)."""
    before = furnish(lab)
    for attempt in ("pod-a", "pod-a-1"):
        pod = lab.pod(attempt)
        (attached,) = await lab.attach(pod, ("demo0", "net1"))
        assert attached.state is State.READY
        await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_removal_without_stop(lab: Lab) -> None:
    """A pod handle without its namespace path still finds it in the journal; then a pod whose namespace died (24)."""
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    await lab.devices.return_devices(msgspec.structs.replace(pod, netns=""))
    assert lab.picture("demo0") == before
    doomed = lab.pod("pod-b")
    await lab.attach(doomed, ("demo0", "net1"), run=False)
    for container in list(lab.containers):
        container.kill()
    namespaces.unpin(Path(doomed.netns))
    (lost,) = await lab.devices.return_devices(doomed)
    assert lost.state is State.LOST
    await lab.devices.forget(doomed.id)
