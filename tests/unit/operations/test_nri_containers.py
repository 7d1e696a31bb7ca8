"""What NRI plugins are told of containers, and what becomes of their answers, over drivers in memory."""

import asyncio
import json

import pytest

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState
from crishim.nri.plugins import Changes, Creation
from crishim.operations.create_container import create_container
from crishim.operations.nri_messages import all_messages
from crishim.operations.recover import recover
from crishim.operations.remove_container import remove_container
from crishim.operations.run_pod import run_pod
from crishim.operations.start_container import start_container
from crishim.operations.stop_container import stop_container
from crishim.operations.stop_pod import stop_pod
from crishim.operations.update_container import update_container
from crishim.pb import cri_pb2 as cri
from crishim.pb import nri_pb2 as nri
from crishim.pb.nri import fields_pb2 as fields
from tests.support.world import CANCEL, World

STARTED = ["CreateContainer", "PostCreateContainer", "StartContainer", "PostStartContainer"]


@pytest.fixture
async def pod(world: World) -> str:
    metadata = cri.PodSandboxMetadata(name="p", namespace="ns", uid="u")
    id = await run_pod(world.node, cri.PodSandboxConfig(metadata=metadata), "")
    world.nri.active = True
    return id


def request(pod: str) -> cri.CreateContainerRequest:
    config = cri.ContainerConfig(metadata=cri.ContainerMetadata(name="c"), image=cri.ImageSpec(image="app:1"))
    return cri.CreateContainerRequest(pod_sandbox_id=pod, config=config)


async def ended(world: World, id: str) -> None:
    async with asyncio.timeout(10):
        await world.node.containers.wait(id, lambda c: c.state is ContainerState.EXITED)
    assert await world.node.tasks.drain(10) == []


async def test_a_life(world: World, pod: str) -> None:
    """Each event once, in order, with the state it has then."""
    id = await create_container(world.node, request(pod))
    await start_container(world.node, id)
    await stop_container(world.node, id, 10)
    await ended(world, id)
    await stop_pod(world.node, pod)
    await remove_container(world.node, id)
    assert world.nri.events() == [*STARTED, "StopContainer", "StopPodSandbox", "RemoveContainer"]
    states = [nri.ContainerState.Name(m.state)[10:] for event, m in world.nri.told if "Container" in event]
    assert states == ["UNKNOWN", "CREATED", "CREATED", "RUNNING", "STOPPED", "STOPPED"]
    assert {(m.id, m.name) for event, m in world.nri.told if "Container" in event} == {(id, "c")}
    assert world.nri.known == set()


async def test_the_end_of_a_process_is_told_without_a_call(world: World, pod: str) -> None:
    """Before StopPodSandbox, though that comes at the same time."""
    id = await create_container(world.node, request(pod))
    await start_container(world.node, id)
    world.nri.told.clear()
    world.processes[id].end(3)
    await stop_pod(world.node, pod)
    assert await world.node.tasks.drain(10) == []
    assert world.nri.events() == ["StopContainer", "StopPodSandbox"]
    assert world.nri.told[0][1].exit_code == 3


@pytest.mark.parametrize(
    "step", ["nri.CreateContainer", "netdevices.plan", "launcher.create", "plan.verify_and_repair"]
)
@pytest.mark.parametrize("fault", [CrishimError(Kind.INTERNAL, "no"), CANCEL], ids=["error", "cancelled"])
async def test_a_creation_that_fails(world: World, pod: str, step: str, fault: BaseException) -> None:
    """Is told as the container's end, whatever failed; then a new one is made."""
    world.fail[step] = fault
    with pytest.raises(type(fault)):
        await asyncio.create_task(create_container(world.node, request(pod)))
    assert world.nri.events() == ["CreateContainer", "StopContainer", "RemoveContainer"]
    assert list(world.node.containers) == []
    await create_container(world.node, request(pod))


async def test_a_failure_before_is_not_told(world: World, pod: str) -> None:
    world.fail["launcher.draft"] = CrishimError(Kind.INVALID, "no")
    with pytest.raises(CrishimError):
        await create_container(world.node, request(pod))
    assert world.nri.told == []


async def test_a_start_that_is_refused(world: World, pod: str) -> None:
    """The container ends without having run, and StopContainer is told."""
    id = await create_container(world.node, request(pod))
    world.fail["nri.StartContainer"] = CrishimError(Kind.INTERNAL, "not today")
    with pytest.raises(CrishimError, match="not today"):
        await start_container(world.node, id)
    await ended(world, id)
    container = world.node.containers.find(id)
    assert (container.reason, container.message) == ("StartError", "not today")
    assert "runtime.start" not in world.steps
    assert world.nri.events() == ["CreateContainer", "PostCreateContainer", "StartContainer", "StopContainer"]


async def test_a_notice_that_cannot_be_given_fails_no_call(world: World, pod: str) -> None:
    world.fail |= {f"nri.Post{event}Container": OSError(5, "no") for event in ("Create", "Start")}
    id = await create_container(world.node, request(pod))
    await start_container(world.node, id)
    assert world.node.containers.find(id).state is ContainerState.RUNNING


async def test_a_daemon_killed_while_plugins_are_told(world: World, pod: str) -> None:
    """The next one tells them that the container is not to be."""
    world.delay["nri.CreateContainer"] = 3600
    making = asyncio.create_task(create_container(world.node, request(pod)))
    while not world.nri.told:  # noqa: ASYNC110
        await asyncio.sleep(0)
    world.node = world.start()
    await recover(world.node)
    assert world.nri.events() == ["CreateContainer", "StopContainer", "RemoveContainer"]
    assert (list(world.node.containers), world.nri.known) == ([], set())
    making.cancel()
    await asyncio.wait([making])


async def test_an_end_that_only_the_next_daemon_tells_of(world: World, pod: str) -> None:
    """Its record says that plugins do not know yet; one that came after the end is told nothing."""
    id = await create_container(world.node, request(pod))
    world.fail["nri.StopContainer"] = OSError(5, "killed here")
    await stop_container(world.node, id, 0)
    await ended(world, id)
    assert world.node.containers.find(id).stop_unannounced
    world.node = world.start()
    await recover(world.node)
    await recover(world.node)
    assert world.nri.events("Stop") == ["StopContainer", "StopContainer"]
    assert not world.node.containers.find(id).stop_unannounced


async def test_a_plugin_that_comes_later(world: World, pod: str) -> None:
    """Is shown pods, and containers with a process; of one that had ended it gets no StopContainer."""
    world.nri.active = False
    gone, lives = await create_container(world.node, request(pod)), ""
    await stop_container(world.node, gone, 0)
    await ended(world, gone)
    asked = request(pod)
    asked.config.metadata.name = "d"
    lives = await create_container(world.node, asked)
    await start_container(world.node, lives)
    pods, containers = await all_messages(world.node)
    assert ([p.id for p in pods], [(c.id, list(c.args)) for c in containers]) == ([pod], [(lives, ["main"])])
    world.nri.active = True
    await stop_pod(world.node, pod)
    assert await world.node.tasks.drain(10) == []
    assert [(event, m.id) for event, m in world.nri.told] == [("StopContainer", lives), ("StopPodSandbox", pod)]


async def test_adjustments_are_written(world: World, pod: str) -> None:
    """In config.json and in what the status says; updates of others are applied when no lock is held."""
    adjustment = nri.ContainerAdjustment(
        env=[nri.KeyValue(key="A", value="1")],
        linux=nri.LinuxContainerAdjustment(
            resources=nri.LinuxResources(cpu=nri.LinuxCPU(shares=nri.OptionalUInt64(value=99)))
        ),
    )
    changes = Changes((nri.ContainerUpdate(container_id="other"),))
    world.nri.creation = Creation(adjustment, changes, nri.FieldOwners())
    id = await create_container(world.node, request(pod))
    spec = json.loads((world.node.launcher.bundle(id) / "config.json").read_bytes())
    assert (spec["process"]["env"], spec["linux"]["resources"]["cpu"]) == (["A=1"], {"shares": 99})
    resources = cri.LinuxContainerResources.FromString(world.node.containers.find(id).resources)
    assert (resources.cpu_shares, world.nri.applied) == (99, [changes])


async def test_what_cannot_be_names_plugin_and_field(world: World, pod: str) -> None:
    owners = nri.FieldOwners(simple={fields.CgroupsPath: "10-x"})
    adjustment = nri.ContainerAdjustment(linux=nri.LinuxContainerAdjustment(cgroups_path="/elsewhere"))
    world.nri.creation = Creation(adjustment, Changes(), owners)
    with pytest.raises(CrishimError, match=r"NRI plugin 10-x: adjustment linux\.cgroups_path cannot be applied"):
        await create_container(world.node, request(pod))
    assert world.held == {f"namespaces {pod}", f"network {pod}"}


async def test_an_update(world: World, pod: str) -> None:
    id = await create_container(world.node, request(pod))
    await update_container(world.node, id, cri.LinuxContainerResources(cpu_shares=5))
    assert world.nri.events("Update") == ["UpdateContainer", "PostUpdateContainer"]
    world.fail["nri.UpdateContainer"] = CrishimError(Kind.INTERNAL, "no")
    with pytest.raises(CrishimError):
        await update_container(world.node, id, cri.LinuxContainerResources(cpu_shares=6))
    resources = cri.LinuxContainerResources.FromString(world.node.containers.find(id).resources)
    assert resources.cpu_shares == 5
