"""What a start does about what a kill left: each state of a record, over drivers in memory."""

import asyncio

import pytest
from msgspec.structs import replace

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState, PodState
from crishim.operations.create_container import create_container
from crishim.operations.recover import is_in_doubt, recover
from crishim.operations.run_pod import run_pod
from crishim.operations.start_container import start_container
from crishim.pb import cri_pb2 as cri
from tests.support.world import World

IMAGE = cri.ImageSpec(image="app:1")


async def a_pod(world: World, name: str = "p") -> str:
    metadata = cri.PodSandboxMetadata(name=name, namespace="ns", uid="u")
    return await run_pod(world.node, cri.PodSandboxConfig(metadata=metadata), "")


async def a_container(world: World, pod: str) -> str:
    config = cri.ContainerConfig(metadata=cri.ContainerMetadata(name="c"), image=IMAGE)
    return await create_container(world.node, cri.CreateContainerRequest(pod_sandbox_id=pod, config=config))


async def killed_and_started(world: World) -> None:
    """A new daemon over what the old one left."""
    world.node = world.start()
    world.steps.clear()
    await recover(world.node)
    assert await world.node.tasks.drain(10) == []


async def test_nothing_to_do(world: World) -> None:
    """What runs is watched on, and nothing of it is touched."""
    id = await a_container(world, await a_pod(world))
    await start_container(world.node, id)
    held = set(world.held)
    await killed_and_started(world)
    assert world.held == held
    assert world.node.containers.find(id).state is ContainerState.RUNNING
    world.processes[id].end()
    async with asyncio.timeout(10):
        await world.node.containers.wait(id, lambda c: c.state is ContainerState.EXITED)
    assert await world.node.tasks.drain(10) == []


@pytest.mark.parametrize("kind", ["nothing", "starting", "container", "pod"])
async def test_what_is_in_doubt(world: World, kind: str) -> None:
    """A container in STARTING, which a client sees as created, and whatever stands for a record nobody could read."""
    pod = await a_pod(world)
    id = await a_container(world, pod)
    if kind == "starting":
        await world.node.containers.update(id, lambda c: replace(c, state=ContainerState.STARTING))
    elif kind == "container":
        world.node.containers.adopt(world.node.containers.find(id))
    elif kind == "pod":
        world.node.pods.adopt(world.node.pods.find(pod))
    assert is_in_doubt(world.node) is (kind != "nothing")


@pytest.mark.parametrize("state", [PodState.CREATING, PodState.STOPPING, PodState.REMOVING])
async def test_a_pod_in_between(world: World, state: PodState) -> None:
    """CREATING and REMOVING end; STOPPING is stopped, and waits for its removal."""
    id = await a_pod(world)
    old = world.node.pods.find(id)
    await world.node.pods.remove(id)
    await world.node.pods.add(replace(old, state=state))
    if state is PodState.REMOVING:
        world.held.clear()
    await killed_and_started(world)
    assert world.held == set()
    assert [p.state for p in world.node.pods] == ([PodState.NOTREADY] if state is PodState.STOPPING else [])


async def test_a_pod_after_a_reboot(world: World) -> None:
    """Its namespaces are gone: NOTREADY, its network taken down."""
    id = await a_pod(world)
    world.held.discard(f"namespaces {id}")
    await killed_and_started(world)
    assert world.node.pods.find(id).state is PodState.NOTREADY
    assert world.held == set()


@pytest.mark.parametrize("state", [ContainerState.CREATING, ContainerState.REMOVING])
async def test_a_container_in_between(world: World, state: ContainerState) -> None:
    """It goes, with everything it had."""
    pod = await a_pod(world)
    id = await a_container(world, pod)
    old = world.node.containers.find(id)
    await world.node.containers.remove(id)
    await world.node.containers.add(replace(old, state=state))
    await killed_and_started(world)
    assert list(world.node.containers) == []
    assert world.held == {f"namespaces {pod}", f"network {pod}", f"devices {pod}"}


@pytest.mark.parametrize("started", [False, True])
async def test_a_container_that_was_being_started(world: World, started: bool) -> None:
    """Only the runtime knows whether it was."""
    id = await a_container(world, await a_pod(world))
    await world.node.containers.update(id, lambda c: replace(c, state=ContainerState.STARTING, started_at=5))
    if started:
        world.held.add(f"started {id}")
    await killed_and_started(world)
    container = world.node.containers.find(id)
    assert (container.state, container.started_at) == (
        (ContainerState.RUNNING, 5) if started else (ContainerState.CREATED, 0)
    )


async def test_an_end_that_nobody_saw(world: World) -> None:
    """The exit file has its code."""
    id = await a_container(world, await a_pod(world))
    await start_container(world.node, id)
    process = world.processes[id]
    world.node = world.start()  # the old one does not see it
    process.end()
    await killed_and_started(world)
    assert world.node.containers.find(id).exit_code == 137


async def test_what_nobody_knows_is_swept(world: World) -> None:
    """Containers of the runtime and namespaces by an id of ours and without a record; others' are left."""
    unknown, others = "e" * 64, {"container somebody", "namespaces theirs"}
    world.held |= {f"container {unknown}", f"namespaces {unknown}", f"network {unknown}", *others}
    await killed_and_started(world)
    assert world.held == others


@pytest.mark.parametrize(
    "step",
    [
        "transport.recover",
        "netdevices.recover",
        "networks.delete",
        "filesystems.remove_orphans",
        "launcher.remove_orphans",
        "launcher.end",
    ],
)
async def test_trouble_with_one_thing_does_not_keep_the_rest(world: World, step: str) -> None:
    """Recovery never raises; what failed is done by the next start."""
    pods = [await a_pod(world, name) for name in "ab"]
    for id, state in zip(pods, (PodState.STOPPING, PodState.READY), strict=True):
        await world.node.pods.update(id, lambda p, state=state: replace(p, state=state))
    container = await a_container(world, pods[1])
    old = world.node.containers.find(container)
    await world.node.containers.remove(container)
    await world.node.containers.add(replace(old, state=ContainerState.CREATING))
    world.fail[step] = CrishimError(Kind.INTERNAL, "no")
    await killed_and_started(world)
    assert world.fail == {}
    await killed_and_started(world)
    assert world.node.pods.find(pods[0]).state is PodState.NOTREADY
    assert list(world.node.containers) == []
