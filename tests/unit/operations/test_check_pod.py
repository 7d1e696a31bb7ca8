"""CheckPods over drivers in memory: of whom, and never beside a stop."""

import asyncio

import pytest

from crishim.cri.admin import CheckPods
from crishim.errors import CrishimError, Kind
from crishim.operations.check_pod import check_pod
from crishim.operations.run_pod import run_pod
from crishim.operations.stop_pod import stop_pod
from crishim.pb import admin_pb2 as admin
from crishim.pb import cri_pb2 as cri
from tests.support.eventually import eventually
from tests.support.world import World


async def a_pod(world: World, name: str) -> str:
    metadata = cri.PodSandboxMetadata(name=name, namespace="ns", uid="u")
    return await run_pod(world.node, cri.PodSandboxConfig(metadata=metadata), "")


async def test_all_that_are_ready(world: World) -> None:
    """Oldest first, with each plugin's answer; a pod that is named has to be ready."""
    stopped, *ready = [await a_pod(world, name) for name in ("a", "b", "c")]
    await stop_pod(world.node, stopped)
    found = (await CheckPods(world.node, admin.CheckPodsRequest())).pods
    assert [(p.pod_sandbox_id, p.pod, p.network) for p in found] == [(ready[0], "ns/b", "n"), (ready[1], "ns/c", "n")]
    assert [(a.plugin, a.error) for a in found[0].answers] == [("bridge", "")]
    (one,) = (await CheckPods(world.node, admin.CheckPodsRequest(pod_sandbox_id=ready[0][:12]))).pods
    assert one.pod_sandbox_id == ready[0]
    with pytest.raises(CrishimError) as caught:
        await CheckPods(world.node, admin.CheckPodsRequest(pod_sandbox_id=stopped))
    assert caught.value.kind is Kind.PRECONDITION


async def test_beside_a_stop(world: World) -> None:
    """CNI DEL waits for CHECK; a pod that is stopped first is in no answer."""
    id = await a_pod(world, "a")
    checked, _ = await asyncio.gather(check_pod(world.node, id), stop_pod(world.node, id))
    assert checked.errors == ()
    assert world.steps.index("networks.check") < world.steps.index("networks.delete")
    id = await a_pod(world, "b")
    _, answer = await asyncio.gather(stop_pod(world.node, id), CheckPods(world.node, admin.CheckPodsRequest()))
    assert list(answer.pods) == []
    assert world.steps.count("networks.check") == 1


async def test_a_plugin_that_hangs(world: World) -> None:
    """The pods whose turn has not come are not locked: they can be stopped, and are in no answer then."""
    pods = [await a_pod(world, name) for name in "abcd"]
    world.delay["networks.check"] = 3600
    asking = asyncio.ensure_future(CheckPods(world.node, admin.CheckPodsRequest()))
    await eventually(lambda: world.steps.count("networks.check") == 2)
    for id in pods[2:]:
        async with asyncio.timeout(10):
            await stop_pod(world.node, id)
    asking.cancel()
    assert world.steps.count("networks.check") == 2
