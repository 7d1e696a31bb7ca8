"""A name that changes hands between the check and the move: the OCI runtime moves by name."""

import pytest

from crishim.errors import CrishimError, Kind
from crishim.netdev.records import Mover
from tests.node.netdev.lab import Lab

pytestmark = pytest.mark.node


async def test_a_device_that_took_the_name_meanwhile_does_not_stay_in_the_pod(lab: Lab) -> None:
    """It is back, UP and with what the runtime left of it; the right one never left, and is called what the host calls
    it now; ABORTED: it may be tried again."""
    lab.demo()
    before = lab.demo("secret0")
    pod = lab.pod()
    async with await lab.plan(pod, ("demo0", "net1")) as plan:
        await plan.begin()
        if lab.kit.mover is Mover.BUILTIN:  # moves by ifindex: it is there already
            assert lab.names(pod.netns) >= {"net1"}
            return
        lab.ip("link set demo0 name demo9")
        lab.ip("link set secret0 name demo0")
        lab.container(pod, plan.entries).create()
        with pytest.raises(CrishimError, match="demo0 was renamed while it was given to pod default/pod-a") as told:
            await plan.verify_and_repair()
        assert told.value.kind is Kind.ABORTED
    back = next(x for x in lab.json("link show") if x["address"] == before["address"])
    assert (back["ifname"], "UP" in back["flags"]) == ("demo0", True)
    (address,) = [a for a in before["addresses"] if a["family"] == "inet"]  # some runtimes lose the others
    assert address["local"] in {a["local"] for a in lab.addresses("demo0")}
    assert "net1" not in lab.names(pod.netns)
    assert lab.devices.attachments() == []
    assert lab.names() == {"lo", "demo0", "demo9", "demo0-peer", "secret0-peer"}


async def test_a_link_of_the_pods_own_is_not_taken_for_the_hosts(lab: Lab) -> None:
    """The pod has put one of its own under the name meanwhile, from a namespace the host does not know."""
    before = lab.demo()
    pod = lab.pod()
    lab.ip("link add spare0 type ifb", pod.netns)
    async with await lab.plan(pod, ("demo0", "net1")) as plan:
        await plan.begin()
        if lab.kit.mover is Mover.RUNTIME:
            lab.ip("link set spare0 name net1", pod.netns)
            with pytest.raises(CrishimError, match="demo0"):
                await plan.verify_and_repair()
    assert lab.names() == {"lo", "demo0", "demo0-peer"}
    assert lab.picture("demo0") == before
