"""RunPodSandbox, StopPodSandbox, RemovePodSandbox over drivers in memory: what is done, and what a failure leaves."""

import asyncio
import json

import pytest

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import PodState
from crishim.operations import afterwards
from crishim.operations.create_container import create_container
from crishim.operations.recover import recover
from crishim.operations.remove_pod import remove_pod
from crishim.operations.run_pod import run_pod
from crishim.operations.stop_pod import stop_pod
from crishim.pb import cri_pb2 as cri
from tests.support.own_clock import simulate
from tests.support.world import CANCEL, World

FAULTS = [CrishimError(Kind.EXHAUSTED, "no space left on device"), OSError(5, "Input/output error"), CANCEL]
MAKING = ["networks.plan", "sandboxes.make", "networks.add", "inits.start", "sandboxes.set_addresses"]
UNMAKING = ["netdevices.return_devices", "inits.stop", "networks.delete", "sandboxes.remove"]


def config(name: str = "p", attempt: int = 0) -> cri.PodSandboxConfig:
    metadata = cri.PodSandboxMetadata(name=name, namespace="ns", uid="u", attempt=attempt)
    return cri.PodSandboxConfig(metadata=metadata, hostname="init")


async def test_a_pod(world: World) -> None:
    """Made in this order, READY with its addresses; a record that says so is on disk."""
    id = await run_pod(world.node, config(), "")
    assert world.steps == MAKING
    assert world.held == {f"{thing} {id}" for thing in ("namespaces", "network", "init")}
    pod = world.start().pods.find(id)
    assert (pod.state, pod.network.ips, pod.init is not None) == (PodState.READY, ("10.0.0.2",), True)


@pytest.mark.parametrize("fault", FAULTS, ids=["error", "kernel", "cancelled"])
@pytest.mark.parametrize("step", MAKING)
async def test_a_failure_leaves_nothing(world: World, step: str, fault: BaseException) -> None:
    """At whichever step: what was made is unmade, the record and the name are gone, and a retry makes the pod."""
    world.fail[step] = fault
    with pytest.raises(type(fault)):
        await asyncio.create_task(run_pod(world.node, config(), ""))
    assert (world.held, list(world.node.pods), world.fail) == (set(), [], {})
    id = await run_pod(world.node, config(), "")
    assert world.node.pods.find(id).state is PodState.READY


@pytest.mark.parametrize("step", ["networks.delete", "sandboxes.remove", "inits.stop"])
async def test_a_rollback_that_fails_keeps_the_record(world: World, step: str) -> None:
    """The pod stays, to be stopped and removed: its name is not free, and nothing is forgotten."""
    world.fail |= {
        "sandboxes.set_addresses": CrishimError(Kind.INTERNAL, "no"),
        step: CrishimError(Kind.INTERNAL, "no"),
    }
    with pytest.raises(CrishimError):
        await run_pod(world.node, config(), "")
    (pod,) = world.node.pods
    assert pod.state is PodState.STOPPING
    with pytest.raises(CrishimError) as caught:
        await run_pod(world.node, config(), "")
    assert caught.value.kind is Kind.EXISTS
    await remove_pod(world.node, pod.id)
    await run_pod(world.node, config(), "")  # its name is free
    await remove_pod(world.node, pod.id)
    assert world.node.pods.get(pod.id) is None
    assert not [thing for thing in world.held if pod.id in thing]


async def test_ten_calls_make_one_pod(world: World) -> None:
    """The same request again, beside the first or after it, has the same answer; another one EXISTS."""
    ids = await asyncio.gather(*(run_pod(world.node, config(), "") for _ in range(10)))
    assert len(set(ids)) == 1
    assert world.steps == MAKING
    with pytest.raises(CrishimError) as caught:
        await run_pod(world.node, config(), "crun")
    assert caught.value.kind is Kind.EXISTS
    assert await run_pod(world.node, config(attempt=1), "") != ids[0]


async def test_what_cannot_be(world: World) -> None:
    """INVALID before anything is touched."""
    for wrong, handler in ((config(name=""), ""), (config(), "nobody")):
        with pytest.raises(CrishimError) as caught:
            await run_pod(world.node, wrong, handler)
        assert caught.value.kind is Kind.INVALID
    assert world.steps == []


async def test_a_stop(world: World) -> None:
    """Devices first, then the init, the network, the namespaces; a second stop, and one of nobody, do nothing."""
    id = await run_pod(world.node, config(), "")
    world.steps.clear()
    await stop_pod(world.node, id[:10])
    assert world.steps == UNMAKING
    assert (world.held, world.node.pods.find(id).state) == (set(), PodState.NOTREADY)
    await stop_pod(world.node, id)
    await stop_pod(world.node, "f" * 64)
    assert world.steps == UNMAKING


@pytest.mark.parametrize("fault", FAULTS, ids=["error", "kernel", "cancelled"])
@pytest.mark.parametrize("step", UNMAKING)
async def test_a_stop_that_fails_is_tried_again(world: World, step: str, fault: BaseException) -> None:
    """The pod is NOTREADY to its client, and the next stop ends it."""
    id = await run_pod(world.node, config(), "")
    world.fail[step] = fault
    with pytest.raises(type(fault)):
        await asyncio.create_task(stop_pod(world.node, id))
    assert world.node.pods.find(id).state is PodState.STOPPING
    await stop_pod(world.node, id)
    assert (world.held, world.node.pods.find(id).state) == (set(), PodState.NOTREADY)


async def test_a_device_that_stays_does_not_keep_the_address(world: World) -> None:
    """CNI DEL follows all the same; the namespaces, where the device is, wait for the next try."""
    id = await run_pod(world.node, config(), "")
    world.fail["netdevices.return_devices"] = CrishimError(Kind.INTERNAL, "demo0 cannot be returned")
    with pytest.raises(CrishimError, match="demo0"):
        await stop_pod(world.node, id)
    assert world.held == {f"namespaces {id}"}


@pytest.mark.parametrize("step", [*UNMAKING, "netdevices.forget"])
async def test_a_removal_that_fails_is_tried_again(world: World, step: str) -> None:
    """It stops what runs; the record goes last."""
    id = await run_pod(world.node, config(), "")
    world.fail[step] = CrishimError(Kind.INTERNAL, "no")
    with pytest.raises(CrishimError):
        await remove_pod(world.node, id)
    assert world.node.pods.get(id) is not None
    await remove_pod(world.node, id)
    assert await world.node.tasks.drain(10) == []
    assert (world.held, list(world.node.pods)) == (set(), [])
    await remove_pod(world.node, id)


@pytest.mark.parametrize("fault", FAULTS, ids=["error", "kernel", "cancelled"])
@pytest.mark.parametrize("step", ["launcher.end", "sandboxes.remove"])
async def test_what_is_removed_after_the_answer(
    world: World, step: str, fault: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails of it is tried again; the pod's record goes after those of its containers."""
    monkeypatch.setattr(afterwards, "PAUSES", (0.01,))
    id = await run_pod(world.node, config(), "")
    wish = cri.ContainerConfig(metadata=cri.ContainerMetadata(name="c"), image=cri.ImageSpec(image="app:1"))
    await create_container(world.node, cri.CreateContainerRequest(pod_sandbox_id=id, config=wish))
    await stop_pod(world.node, id)
    world.fail[step] = fault
    await remove_pod(world.node, id)
    assert [p.state for p in world.node.pods] == [PodState.REMOVING]
    async with asyncio.timeout(10):
        await world.node.pods.wait(id, lambda _: False)
    assert (world.fail, world.held, list(world.node.containers)) == ({}, set(), [])
    assert await world.node.tasks.drain(10) == []


async def test_a_daemon_that_dies_after_the_answer(world: World) -> None:
    """The next one's start finishes the removal of pod and container."""
    id = await run_pod(world.node, config(), "")
    wish = cri.ContainerConfig(metadata=cri.ContainerMetadata(name="c"), image=cri.ImageSpec(image="app:1"))
    await create_container(world.node, cri.CreateContainerRequest(pod_sandbox_id=id, config=wish))
    world.delay["filesystems.delete"] = 3600
    await remove_pod(world.node, id)
    world.delay.clear()
    world.node = world.start()
    assert [p.state for p in world.node.pods] == [PodState.REMOVING]
    await recover(world.node)
    assert (world.held, list(world.node.pods), list(world.node.containers)) == (set(), [], [])


@pytest.mark.parametrize("hooks", [False, True], ids=["", "poststop hooks"])
def test_what_is_left_of_dead_containers(world: World, *, hooks: bool) -> None:
    """Their release goes on beside CNI DEL, and comes before it where hooks may want the network."""

    async def life() -> None:
        id = await run_pod(world.node, config(), "")
        wish = cri.ContainerConfig(metadata=cri.ContainerMetadata(name="c"), image=cri.ImageSpec(image="app:1"))
        made = await create_container(world.node, cri.CreateContainerRequest(pod_sandbox_id=id, config=wish))
        spec = {"hooks": {"poststop": [{"path": "/bin/true"}]} if hooks else {"prestart": []}}
        (world.node.launcher.bundle(made) / "config.json").write_text(json.dumps(spec))
        world.delay["runtime.delete"] = 5
        world.steps.clear()
        await stop_pod(world.node, id)
        assert not {f"container {made}", f"network {id}"} & world.held

    simulate(life())
    order = [world.steps.index(step) for step in ("filesystems.release", "networks.delete")]
    assert (order == sorted(order)) == hooks
