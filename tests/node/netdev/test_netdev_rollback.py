"""All or nothing: acceptance cases 5, 6 and 14, under every mover."""

from typing import Any

import pytest

from crishim.errors import CrishimError
from crishim.netdev.records import Mover, State
from tests.node.netdev.furniture import furnish
from tests.node.netdev.lab import Lab, request

pytestmark = pytest.mark.node


async def test_a_missing_second_device_moves_nothing(lab: Lab) -> None:
    """Refused before the first is touched; works as soon as the second appears (5)."""
    before = lab.demo("demo0")
    pod = lab.pod()
    with pytest.raises(CrishimError, match="demo1"):
        await lab.attach(pod, ("demo0", "net1"), ("demo1", "net2"))
    assert lab.picture("demo0") == before
    lab.demo("demo1")
    await lab.attach(pod, ("demo0", "net1"), ("demo1", "net2"))
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_a_second_device_that_goes_away_in_between(lab: Lab) -> None:
    """It vanishes after the checks: the first is back, UP, with its addresses; a retry works (5)."""
    before = furnish(lab)
    lab.demo("demo1")
    pod = lab.pod()
    with pytest.raises((CrishimError, RuntimeError), match="demo1"):  # noqa: PT012
        async with await lab.plan(pod, ("demo0", "net1"), ("demo1", "net2")) as plan:
            lab.ip("link del demo1")
            await plan.begin()
            lab.container(pod, plan.entries).create()
    assert lab.picture("demo0") == before
    assert [a.state for a in lab.devices.attachments()] in ([], [State.LOST])
    lab.demo("demo1")
    await lab.attach(pod, ("demo0", "net1"), ("demo1", "net2"))
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_a_name_taken_after_the_checks(lab: Lab) -> None:
    """The kernel leaves the device in the pod under its old name, down: it is brought back, nothing is stranded (6)."""
    before = [furnish(lab), lab.demo("demo1")]
    pod = lab.pod()
    names = lab.names(pod.netns)
    with pytest.raises((CrishimError, RuntimeError)):  # noqa: PT012
        async with await lab.plan(pod, ("demo0", "net1"), ("demo1", "net2")) as plan:
            lab.ip("link add net2 type ifb", pod.netns)
            await plan.begin()
            lab.container(pod, plan.entries).create()
    assert [lab.picture("demo0"), lab.picture("demo1")] == before
    assert lab.names(pod.netns) == {*names, "net2"}
    assert lab.devices.attachments() == []


async def test_a_failed_container_takes_its_devices_back(lab: Lab) -> None:
    """The runtime refuses the container after the moves: the devices are back, the leases are free."""
    before = furnish(lab)
    pod = lab.pod()
    with pytest.raises(RuntimeError):  # noqa: PT012
        async with await lab.plan(pod, ("demo0", "net1")) as plan:
            await plan.begin()
            container = lab.container(pod, plan.entries)
            (container.bundle / "rootfs/bin/sh").unlink()
            container.create()
            container.start()
    assert lab.picture("demo0") == before
    assert lab.devices.attachments() == []
    await lab.attach(pod, ("demo0", "net1"))
    await lab.devices.return_devices(pod)


async def test_a_runtime_that_ignores_the_field_is_made_up_for(lab: Lab) -> None:
    """A runtime that left the device on the host: moved and verified all the same, never a silent start (14)."""
    before = furnish(lab)
    pod = lab.pod()
    async with await lab.devices.plan([_wish()], pod, Mover.RUNTIME) as plan:
        await plan.begin()
        lab.container(pod, {}).create()
        (attached,) = await plan.verify_and_repair()
    assert attached.state is State.READY
    assert lab.link("net1", pod.netns)
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


def _wish() -> Any:
    return request("demo0", "net1")
