"""CreateContainer, StartContainer, StopContainer and RemoveContainer over drivers in memory."""

import asyncio

import pytest

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState
from crishim.operations import afterwards
from crishim.operations.create_container import create_container
from crishim.operations.recover import recover
from crishim.operations.remove_container import remove_container
from crishim.operations.run_pod import run_pod
from crishim.operations.start_container import start_container
from crishim.operations.stop_container import stop_container
from crishim.operations.stop_pod import stop_pod
from crishim.pb import cri_pb2 as cri
from tests.support.world import CANCEL, World

FAULTS = [CrishimError(Kind.EXHAUSTED, "no space left on device"), OSError(5, "Input/output error"), CANCEL]
MAKING = [
    "filesystems.using",
    "filesystems.prepare",
    "launcher.draft",
    "netdevices.plan",
    "plan.begin",
    "launcher.write_bundle",
    "launcher.create",
    "launcher.verify",
    "plan.verify_and_repair",
]
UNMAKING = ["launcher.end", "filesystems.delete", "launcher.delete_bundle"]


@pytest.fixture
async def pod(world: World) -> str:
    metadata = cri.PodSandboxMetadata(name="p", namespace="ns", uid="u")
    id = await run_pod(world.node, cri.PodSandboxConfig(metadata=metadata), "")
    world.steps.clear()
    return id


def request(pod: str, name: str = "c") -> cri.CreateContainerRequest:
    config = cri.ContainerConfig(metadata=cri.ContainerMetadata(name=name), image=cri.ImageSpec(image="app:1"))
    return cri.CreateContainerRequest(pod_sandbox_id=pod, config=config)


def left(world: World, pod: str) -> set[str]:
    """What is there beside the pod's own."""
    return world.held - {f"namespaces {pod}", f"network {pod}"}


async def ended(world: World, id: str) -> None:
    async with asyncio.timeout(10):
        await world.node.containers.wait(id, lambda c: c.state is ContainerState.EXITED)
    assert await world.node.tasks.drain(10) == []


async def test_a_container(world: World, pod: str) -> None:
    """Made in this order, CREATED, its process alive; a new daemon finds it so."""
    id = await create_container(world.node, request(pod))
    assert world.steps == MAKING
    assert left(world, pod) == {f"{what} {id}" for what in ("rootfs", "bundle", "container")} | {f"devices {pod}"}
    container = world.start().containers.find(id)
    assert (container.state, container.process.pid) == (ContainerState.CREATED, world.processes[id].pid)


@pytest.mark.parametrize("fault", FAULTS, ids=["error", "kernel", "cancelled"])
@pytest.mark.parametrize("step", MAKING)
async def test_a_failure_leaves_nothing(world: World, pod: str, step: str, fault: BaseException) -> None:
    """At whichever step: all is unmade, devices too, and a retry makes the container."""
    world.fail[step] = fault
    with pytest.raises(type(fault)):
        await asyncio.create_task(create_container(world.node, request(pod)))
    assert (left(world, pod), list(world.node.containers), world.fail) == (set(), [], {})
    id = await create_container(world.node, request(pod))
    assert world.node.containers.find(id).state is ContainerState.CREATED


@pytest.mark.parametrize("fault", FAULTS, ids=["error", "kernel", "cancelled"])
@pytest.mark.parametrize("step", ["launcher.create", "launcher.verify"])
async def test_the_runtime_has_ended_when_devices_go_back(
    world: World, pod: str, step: str, fault: BaseException
) -> None:
    """It may be about to move them: they would go into a pod that nobody looks at any more."""
    world.fail[step] = fault
    with pytest.raises(type(fault)):
        await asyncio.create_task(create_container(world.node, request(pod)))
    assert world.steps.index(step) < world.steps.index("launcher.end") < world.steps.index("plan undone")


@pytest.mark.parametrize("step", UNMAKING)
async def test_a_rollback_that_fails_keeps_the_record(world: World, pod: str, step: str) -> None:
    """CREATING, as after a kill: the removal, or the next start, takes the rest away."""
    world.fail |= dict.fromkeys(("plan.verify_and_repair", step), CrishimError(Kind.INTERNAL, "no"))
    with pytest.raises(CrishimError):
        await create_container(world.node, request(pod))
    (container,) = world.node.containers
    assert container.state is ContainerState.CREATING
    await remove_container(world.node, container.id)
    assert (left(world, pod), list(world.node.containers)) == (set(), [])


async def test_a_pod_that_is_being_stopped_takes_none(world: World, pod: str) -> None:
    """Whichever comes first: there is no container in a stopped pod."""
    made, stopped = await asyncio.gather(
        create_container(world.node, request(pod)), stop_pod(world.node, pod), return_exceptions=True
    )
    assert stopped is None
    if isinstance(made, str):
        await ended(world, made)
    else:
        assert isinstance(made, CrishimError)
        assert made.kind is Kind.PRECONDITION
    with pytest.raises(CrishimError, match="takes no container"):
        await create_container(world.node, request(pod, "d"))


async def test_a_life(world: World, pod: str) -> None:
    """Started, stopped by a signal, its code recorded, removed; each again is fine or says why not."""
    id = await create_container(world.node, request(pod))
    await start_container(world.node, id)
    assert world.node.containers.find(id).state is ContainerState.RUNNING
    with pytest.raises(CrishimError) as caught:
        await start_container(world.node, id)
    assert caught.value.kind is Kind.PRECONDITION
    await stop_container(world.node, id, 10)
    container = world.node.containers.find(id)
    assert (container.state, container.exit_code, container.reason) == (ContainerState.EXITED, 143, "Error")
    await stop_container(world.node, id, 10)
    await ended(world, id)
    world.steps.clear()
    await remove_container(world.node, id)
    assert (world.node.containers.find(id).state, world.steps) == (ContainerState.REMOVING, [])
    await remove_container(world.node, id)  # again: it is gone when this returns
    assert world.steps == UNMAKING
    assert left(world, pod) == {f"devices {pod}"}  # they go back with the pod
    await remove_container(world.node, id)
    assert await world.node.tasks.drain(10) == []
    assert world.steps == UNMAKING


async def test_a_start_that_fails(world: World, pod: str) -> None:
    """The container is EXITED with StartError and the runtime's words; it can be removed."""
    id = await create_container(world.node, request(pod))
    world.fail["runtime.start"] = CrishimError(Kind.INTERNAL, "exec format error")
    with pytest.raises(CrishimError, match="exec format error"):
        await start_container(world.node, id)
    await ended(world, id)
    container = world.node.containers.find(id)
    assert (container.reason, container.exit_code, container.message) == ("StartError", 128, "exec format error")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_start_that_is_given_up(world: World, pod: str, after: bool) -> None:
    """Cancelled before or after the runtime did it: the next start asks the runtime, and is right."""
    id = await create_container(world.node, request(pod))
    world.fail["runtime.start"] = CANCEL
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(start_container(world.node, id))
    assert world.node.containers.find(id).state is ContainerState.STARTING
    if after:
        world.held.add(f"started {id}")
    await start_container(world.node, id)
    assert world.node.containers.find(id).state is ContainerState.RUNNING


@pytest.mark.parametrize("step", UNMAKING)
@pytest.mark.parametrize("fault", [CrishimError(Kind.INTERNAL, "no"), OSError(5, "no"), CANCEL])
async def test_a_removal_that_fails_is_tried_again(
    world: World, pod: str, step: str, fault: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client has its answer; its name is free, nobody sees it, and the record goes last."""
    monkeypatch.setattr(afterwards, "PAUSES", (0.01,))
    id = await create_container(world.node, request(pod))
    world.fail[step] = fault
    await remove_container(world.node, id)
    assert world.node.containers.find(id).state is ContainerState.REMOVING
    successor = await create_container(world.node, request(pod))
    async with asyncio.timeout(10):
        await world.node.containers.wait(id, lambda _: False)
    assert world.fail == {}
    await remove_container(world.node, successor)
    assert await world.node.tasks.drain(10) == []
    assert (left(world, pod), list(world.node.containers)) == ({f"devices {pod}"}, [])


@pytest.mark.parametrize("step", UNMAKING)
async def test_a_daemon_that_dies_after_the_answer(world: World, pod: str, step: str) -> None:
    """The next one's start finishes the removal; the name was free all the while."""
    id = await create_container(world.node, request(pod))
    world.delay[step] = 3600
    await remove_container(world.node, id)
    await asyncio.sleep(0)
    world.delay.clear()
    world.node = world.start()
    assert await create_container(world.node, request(pod)) != id
    await recover(world.node)
    assert [c.state for c in world.node.containers] == [ContainerState.CREATED]
    assert not [thing for thing in world.held if id in thing]
