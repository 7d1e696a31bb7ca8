"""What NRI plugins are told of pods, over drivers in memory: each event once, at its moment, and after a kill too."""

import asyncio

import pytest
from msgspec.structs import replace

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import PodState
from crishim.operations.nri_messages import all_messages
from crishim.operations.recover import recover
from crishim.operations.remove_pod import remove_pod
from crishim.operations.run_pod import run_pod
from crishim.operations.stop_pod import stop_pod
from crishim.operations.update_pod import update_pod
from crishim.pb import cri_pb2 as cri
from tests.support.world import CANCEL, World

POD_EVENTS = ["RunPodSandbox", "StopPodSandbox", "RemovePodSandbox"]


def config() -> cri.PodSandboxConfig:
    return cri.PodSandboxConfig(metadata=cri.PodSandboxMetadata(name="p", namespace="ns", uid="u"), hostname="init")


@pytest.fixture(autouse=True)
def plugin(world: World) -> None:
    world.nri.active = True


async def test_a_life(world: World) -> None:
    """Told before READY with network, addresses and cgroup; stopped while they are there; removed when nothing is."""
    id = await run_pod(world.node, config(), "")
    assert world.steps[-2:] == ["sandboxes.set_addresses", "nri.RunPodSandbox"]
    (_, told), cgroup = world.nri.told[0], world.directory / f"cgroup/crishim-of-a-test/{id}"
    assert (told.id, told.name, told.namespace, told.uid, list(told.ips)) == (id, "p", "ns", "u", ["10.0.0.2"])
    assert {n.type: n.path for n in told.linux.namespaces}["network"] == f"/nowhere/{id}/net"
    assert cgroup.is_dir()
    world.steps.clear()
    await stop_pod(world.node, id)
    assert world.steps[0] == "nri.StopPodSandbox"
    await stop_pod(world.node, id)
    await remove_pod(world.node, id)
    assert world.nri.events() == POD_EVENTS
    assert not world.nri.told[2][1].linux.namespaces
    assert not cgroup.exists()


@pytest.mark.parametrize("fault", [CrishimError(Kind.INTERNAL, "no"), CANCEL], ids=["refused", "cancelled"])
async def test_a_refusal_leaves_nothing(world: World, fault: BaseException) -> None:
    """Plugins are told that the pod is not to be; the same request works at once."""
    world.fail["nri.RunPodSandbox"] = fault
    with pytest.raises(type(fault)):
        await asyncio.create_task(run_pod(world.node, config(), ""))
    assert (world.nri.events(), world.held, list(world.node.pods)) == (POD_EVENTS, set(), [])
    await run_pod(world.node, config(), "")


async def test_a_failure_before_is_not_told(world: World) -> None:
    world.fail["networks.add"] = CrishimError(Kind.INTERNAL, "no")
    with pytest.raises(CrishimError):
        await run_pod(world.node, config(), "")
    assert world.nri.told == []


async def test_a_stop_that_is_tried_again_is_told_once(world: World) -> None:
    id = await run_pod(world.node, config(), "")
    world.fail["networks.delete"] = CrishimError(Kind.INTERNAL, "no")
    with pytest.raises(CrishimError):
        await stop_pod(world.node, id)
    await stop_pod(world.node, id)
    assert world.nri.events() == POD_EVENTS[:2]


async def test_a_pod_of_an_earlier_daemon(world: World) -> None:
    """A plugin that came after it was made is told of its end, too."""
    world.nri.active = False
    id = await run_pod(world.node, config(), "")
    assert world.nri.told == []
    world.node = world.start()
    world.nri.active = True
    await recover(world.node)
    await remove_pod(world.node, id)
    assert world.nri.events() == POD_EVENTS[1:]


async def test_a_stopped_pod_has_no_namespaces(world: World) -> None:
    """A plugin that comes afterwards is not shown paths that lead nowhere."""
    id = await run_pod(world.node, config(), "")
    assert (await all_messages(world.node))[0][0].linux.namespaces
    await stop_pod(world.node, id)
    (pod,) = (await all_messages(world.node))[0]
    assert (pod.id, list(pod.linux.namespaces)) == (id, [])


async def test_a_daemon_killed_while_plugins_are_told(world: World) -> None:
    """The next one tells them that the pod is not to be."""
    world.delay["nri.RunPodSandbox"] = 3600
    making = asyncio.create_task(run_pod(world.node, config(), ""))
    while not world.nri.told:  # noqa: ASYNC110
        await asyncio.sleep(0)
    (pod,) = world.node.pods
    assert (pod.state, pod.announced) == (PodState.CREATING, True)
    world.node = world.start()
    await recover(world.node)
    assert (world.nri.events(), list(world.node.pods), world.nri.known) == (POD_EVENTS, [], set())
    making.cancel()
    await asyncio.wait([making])


async def test_a_daemon_killed_before_that(world: World) -> None:
    """Then they are told nothing."""
    id = await run_pod(world.node, config(), "")
    record = replace(world.node.pods.find(id), state=PodState.CREATING, announced=False)
    await world.node.pods.remove(id)
    await world.node.pods.add(record)
    world.nri.told.clear()
    world.node = world.start()
    await recover(world.node)
    assert (world.nri.told, list(world.node.pods)) == ([], [])


async def test_an_update(world: World) -> None:
    """Before with what was, and after with what is; a refusal changes nothing."""
    id = await run_pod(world.node, config(), "")
    asked = cri.UpdatePodSandboxResourcesRequest(pod_sandbox_id=id, resources=cri.LinuxContainerResources(cpu_shares=7))
    world.fail["nri.UpdatePodSandbox"] = CrishimError(Kind.INTERNAL, "no")
    with pytest.raises(CrishimError):
        await update_pod(world.node, asked)
    assert not world.node.pods.find(id).resources
    await update_pod(world.node, asked)
    assert world.nri.events("Update") == ["UpdatePodSandbox", "UpdatePodSandbox", "PostUpdatePodSandbox"]
    before, after = world.nri.told[-2][1], world.nri.told[-1][1]
    assert (before.linux.resources.cpu.shares.value, after.linux.resources.cpu.shares.value) == (0, 7)
