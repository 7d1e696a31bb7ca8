"""What another link kept from being restored is restored when that link is out of the way, while the daemon runs."""

from functools import partial

import pytest

from crishim.netdev.records import State
from tests.node.netdev.furniture import furnish
from tests.node.netdev.lab import Lab
from tests.node.netdev.test_netdev_down import macvlan, take_its_mac
from tests.node.netdev.test_netdev_watch import eventually

pytestmark = pytest.mark.node


def _is_free(lab: Lab, name: str) -> bool:
    return name not in lab.names()


async def test_one_whose_name_is_another_s_gets_it_when_that_is_free(watched: Lab) -> None:
    """Back under a fallback name, it has its own when the other link is gone, or is called otherwise."""
    lab = watched
    before = furnish(lab)
    for free in ("link del demo0", "link set demo0 name squatter"):
        pod = lab.pod(f"pod-{free[5]}")
        await lab.attach(pod, ("demo0", "net1"), run=False)
        lab.ip("link add demo0 type ifb")
        (returned,) = await lab.devices.return_devices(pod)
        fallback = f"demo0-{returned.id[:4]}"
        assert fallback in lab.names()
        lab.ip(free)
        await eventually(partial(_is_free, lab, fallback), "it has its name")
        assert lab.picture("demo0") == before


async def test_one_that_was_named_since_keeps_that(watched: Lab) -> None:
    """Who renames it, while its own name is another's and when udev is done, means it."""
    lab = watched
    lab.demo()
    lab.demo("demo1")
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), ("demo1", "net2"), run=False)
    for name in ("demo0", "demo1"):
        lab.ip(f"link add {name} type ifb")
    first, second = await lab.devices.return_devices(pod)
    await eventually(lambda: len(lab.devices._watch._retries.misnamed) == 2, "the watch has seen them")
    lab.devices._watch._returned.clear()  # the time in which a rename is udev's is over
    lab.ip(f"link set {first.device}-{first.id[:4]} name mine")
    for name in ("demo0", "demo1"):
        lab.ip(f"link del {name}")
    await eventually(lambda: second.device in lab.names(), "the other has its name")
    await eventually(lambda: not lab.devices._watch._retries.misnamed, "nothing is left to do")
    assert {"mine", second.device} <= lab.names()
    assert first.device not in lab.names()


async def test_one_that_is_down_comes_up_when_its_address_is_free(watched: Lab) -> None:
    """Another macvlan has its MAC; when that is gone the device is up, with its routes, and off the list."""
    lab = watched
    macvlan(lab)
    before = lab.picture("mv0")
    pod = lab.pod()
    await lab.attach(pod, ("mv0", "net1"), run=False)
    take_its_mac(lab, pod)
    assert [a.state for a in await lab.devices.return_devices(pod)] == [State.DOWN]
    lab.ip("link set mv1 down")
    await eventually(lambda: not lab.devices.attachments(), "it is as it was")
    assert lab.picture("mv0") == before
