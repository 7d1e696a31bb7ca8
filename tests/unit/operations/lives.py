"""Each operation in a life it belongs to: what comes before it, the call, and that a client's next calls end it all."""

import asyncio
import json
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

from crishim.engine import checkpoint_archive
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import has_process
from crishim.model import ExecSpec
from crishim.operations.check_pod import check_pod
from crishim.operations.checkpoint_container import checkpoint_container
from crishim.operations.checkpoint_pod import checkpoint_pod
from crishim.operations.create_container import create_container
from crishim.operations.detach_device import detach_device
from crishim.operations.exec import exec_sync, open_attach, open_exec
from crishim.operations.exits import record_exit
from crishim.operations.import_image import import_image
from crishim.operations.list_images import list_images
from crishim.operations.open_port import open_port
from crishim.operations.pull_image import pull_image
from crishim.operations.recover import recover
from crishim.operations.remove_container import remove_container
from crishim.operations.remove_image import remove_image
from crishim.operations.remove_pod import remove_pod
from crishim.operations.reopen_log import reopen_log
from crishim.operations.restore_container import Restored
from crishim.operations.restore_pod import restore_pod
from crishim.operations.run_pod import run_pod
from crishim.operations.start_container import start_container
from crishim.operations.stop_container import stop_container
from crishim.operations.stop_pod import stop_pod
from crishim.operations.update_container import update_container
from crishim.operations.update_pod import update_pod
from crishim.pb import cri_pb2 as cri
from tests.support import checkpoints
from tests.support.world import World

SPEC = ExecSpec(argv=("true",))
SOON = 300.0  # seconds until everything an operation has begun has ended, by the world's clock

Call = Callable[[World], Coroutine[Any, Any, object]]


class Life(NamedTuple):
    """An operation and when it is called. again: what a repeated call may be refused for after a fault in the first.

    undone: all or nothing: what it had made when it failed is gone when it says so.
    """

    before: Call
    call: Call
    again: tuple[Kind, ...] = ()
    undone: bool = False


async def nothing(world: World) -> None:
    """A node without pods."""


def run_a_pod(world: World) -> Coroutine[Any, Any, str]:
    metadata = cri.PodSandboxMetadata(name="p", namespace="ns", uid="u")
    logs = world.directory / "logs"
    logs.mkdir(exist_ok=True)
    config = cri.PodSandboxConfig(metadata=metadata, hostname="init", log_directory=str(logs))
    return run_pod(world.node, config, "")


async def a_pod(world: World) -> None:
    await run_a_pod(world)


async def created(world: World) -> None:
    await a_pod(world)
    await make_container(world)


async def running(world: World) -> None:
    await created(world)
    await start_container(world.node, container(world))


async def stubborn(world: World) -> None:
    """Its container does not end by its stop signal."""
    await running(world)
    world.processes[container(world)].lasts[15] = float("inf")


async def ended(world: World) -> None:
    """Nobody has seen the container's end yet."""
    await running(world)
    world.start()  # takes its tasks from the old node
    world.processes[container(world)].end(9)
    await asyncio.sleep(1)
    world.node = world.start()


async def left_behind(world: World) -> None:
    """A container and its pod, and a new daemon that has not looked yet."""
    await running(world)
    world.node = world.start()


def pod(world: World) -> str:
    return next((p.id for p in world.node.pods), "f" * 64)


def container(world: World) -> str:
    return next((c.id for c in world.node.containers), "f" * 64)


async def make_container(world: World) -> str:
    config = cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name="c"), image=cri.ImageSpec(image="app:1"), log_path="c.log"
    )
    request = cri.CreateContainerRequest(pod_sandbox_id=pod(world), config=config)
    return await create_container(world.node, request)


def update(world: World) -> Coroutine[Any, Any, None]:
    return update_container(world.node, container(world), cri.LinuxContainerResources(cpu_shares=512))


def update_of_pod(world: World) -> Coroutine[Any, Any, None]:
    overhead = cri.LinuxContainerResources(cpu_shares=2)
    return update_pod(world.node, cri.UpdatePodSandboxResourcesRequest(pod_sandbox_id=pod(world), overhead=overhead))


def attach(world: World) -> Coroutine[Any, Any, Any]:
    return open_attach(world.node, container(world), stdin=False, stdout=True, stderr=True, tty=False)


def checkpoint(world: World) -> Coroutine[Any, Any, None]:
    return checkpoint_container(world.node, container(world), str(world.directory / "kept.tar"), 10)


async def make_restored(world: World) -> str:
    """A container of an archive, as RestorePod makes it: CreateContainer takes root's files only."""
    path = checkpoints.write(world.directory / "kept/c.tar")
    config = cri.ContainerConfig(metadata=cri.ContainerMetadata(name="c"), image=cri.ImageSpec(image="app:1"))
    request = cri.CreateContainerRequest(pod_sandbox_id=pod(world), config=config)
    with path.open("rb") as file:
        restored = Restored(checkpoint_archive.read(str(path), file))
        return await create_container(world.node, request, restored)


async def checkpoint_of_pod(world: World) -> None:
    """Whatever comes of it, no container is left frozen."""
    output = Path(tempfile.mkdtemp(dir=world.directory))
    request = cri.CheckpointPodRequest(
        pod_sandbox_id=pod(world), output_path=str(output), container_ids=[container(world)]
    )
    try:
        await checkpoint_pod(world.node, request)
    except BaseException:
        assert list(output.iterdir()) == []
        raise
    finally:
        frozen = world.cgroup_file(container(world), "cgroup.freeze")
        assert not frozen.exists() or frozen.read_text() == "0"
        frozen.unlink(missing_ok=True)


async def restore_of_pod(world: World) -> object:
    top = world.directory / "kept"
    checkpoints.write(top / "container-0.tar")
    manifest = {"version": 1, "pod": "p", "containers": [{"name": "c", "file": "container-0.tar"}]}
    (top / "checkpoint.json").write_text(json.dumps(manifest))
    metadata = cri.PodSandboxMetadata(name="p", namespace="ns", uid="u")
    config = cri.ContainerConfig(metadata=cri.ContainerMetadata(name="c"), image=cri.ImageSpec(image="app:1"))
    request = cri.RestorePodRequest(
        checkpoint_path=str(top), config=cri.PodSandboxConfig(metadata=metadata), container_configs=[config]
    )
    return await restore_pod(world.node, request)


async def unrestored(world: World) -> None:
    await a_pod(world)
    await make_restored(world)


# A start that failed leaves the container EXITED; what was under way when a stop came may be gone.
ENDED = (Kind.PRECONDITION,)
LIVES = {
    "RunPodSandbox": Life(nothing, lambda w: run_a_pod(w), undone=True),
    "StopPodSandbox": Life(a_pod, lambda w: stop_pod(w.node, pod(w))),
    "StopPodSandbox that runs": Life(running, lambda w: stop_pod(w.node, pod(w))),
    "RemovePodSandbox": Life(a_pod, lambda w: remove_pod(w.node, pod(w))),
    "RemovePodSandbox that runs": Life(running, lambda w: remove_pod(w.node, pod(w))),
    "UpdatePodSandboxResources": Life(a_pod, update_of_pod),
    "CheckPods": Life(a_pod, lambda w: check_pod(w.node, pod(w))),
    "PortForward": Life(a_pod, lambda w: open_port(w.node, pod(w), 80)),
    "CreateContainer": Life(a_pod, make_container, undone=True),
    "StartContainer": Life(created, lambda w: start_container(w.node, container(w)), ENDED),
    "CreateContainer from a checkpoint": Life(a_pod, make_restored, undone=True),
    "StartContainer from a checkpoint": Life(unrestored, lambda w: start_container(w.node, container(w)), ENDED),
    "StopContainer that was not restored": Life(unrestored, lambda w: stop_container(w.node, container(w), 10)),
    "RemoveContainer that was not restored": Life(unrestored, lambda w: remove_container(w.node, container(w))),
    "StopContainer": Life(running, lambda w: stop_container(w.node, container(w), 10)),
    "StopContainer that needs SIGKILL": Life(stubborn, lambda w: stop_container(w.node, container(w), 10)),
    "RemoveContainer": Life(created, lambda w: remove_container(w.node, container(w))),
    "RemoveContainer that runs": Life(running, lambda w: remove_container(w.node, container(w))),
    "UpdateContainerResources": Life(running, update, undone=True),
    "ReopenContainerLog": Life(running, lambda w: reopen_log(w.node, container(w))),
    "CheckpointContainer": Life(running, checkpoint),
    "CheckpointPod": Life(running, checkpoint_of_pod),
    "RestorePod": Life(nothing, restore_of_pod, undone=True),
    "ExecSync": Life(running, lambda w: exec_sync(w.node, container(w), SPEC, 1)),
    "Exec": Life(running, lambda w: open_exec(w.node, container(w), SPEC)),
    "Attach": Life(running, attach),
    "DetachNetDevice": Life(created, lambda w: detach_device(w.node, pod(w), "demo0")),
    "the exit": Life(ended, lambda w: record_exit(w.node, container(w))),
    "PullImage": Life(nothing, lambda w: pull_image(w.node, "quay.io/a:1", None)),
    "ImportImage": Life(nothing, lambda w: import_image("/x.tar", "x:1", transport=w.node.transport)),
    "RemoveImage": Life(nothing, lambda w: remove_image(w.node, "app:1")),
    "ListImages": Life(nothing, lambda w: list_images(w.node, "app:1")),
    "the start of a daemon": Life(left_behind, lambda w: recover(w.node)),
}


async def until_quiet(world: World) -> list[str]:
    """Wait until the end of each process is recorded and nothing is under way; the names of what does not end."""
    async with asyncio.timeout(SOON):
        for each in world.node.containers:
            if each.id in world.processes and not world.processes[each.id].alive:
                await world.node.containers.wait(each.id, lambda c: not has_process(c.state))
    still: list[str] = await world.node.tasks.drain(SOON)
    return still


async def end_all(world: World) -> None:
    """What a client does with a node it leaves: every pod is removed. A refusal is tried again, once."""
    for each in [p.id for p in world.node.pods]:
        try:
            await remove_pod(world.node, each)
        except CrishimError:
            await remove_pod(world.node, each)


def there(world: World) -> list[object]:
    """What is there now, with what is in it."""
    files = [path for top in ("cgroup", "bundles") for path in (world.directory / top).rglob("*") if path.is_file()]
    contents = sorted((str(path), path.read_bytes()) for path in files)
    return [*sorted(world.held), *contents, *world.node.pods, *world.node.containers]


def remains(world: World) -> list[str]:
    """What is left of all that was made: things of drivers, records in memory and on disk, names, locks, processes."""
    node = world.node
    found = sorted(world.held) + [f"pod {p.id}" for p in node.pods] + [f"container {c.id}" for c in node.containers]
    found += [str(path) for kind in ("pods", "containers", "checkpoints")
              for path in (world.directory / "state" / kind).glob("*")]  # fmt: skip
    found += [f"name {name}" for name in node.names._holders] + [f"lock {id}" for id in node.locks._locks]
    found += [f"an NRI plugin knows {thing}" for thing in world.nri.known]
    found += [f"process {pid}" for pid in world.kernel.living()]
    return found
