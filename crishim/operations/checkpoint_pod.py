"""CheckpointPod: checkpoint several containers of a pod at one moment, an archive each, in the client's directory.

    all paused -> one after the other captured, in a directory of ours -> all resumed
    -> archives container-N.tar, and checkpoint.json last, in the client's directory

All are paused until the last one is captured, so their states are consistent with each other. They are resumed in any
case, even if the daemon is killed: STATE_DIR/checkpoints/POD records the intent for the next daemon
(clear_interrupted).
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState
from crishim.linux import directories, executors, process_trees, processes
from crishim.linux.pod_paths import looking_at
from crishim.model import ContainerRecord, PodRecord, ProcessRef
from crishim.node import Node
from crishim.operations.checkpoint_container import DEFAULT_TIMEOUT, archive, capture, check_possible, prepare
from crishim.operations.pausing import paused, thaw
from crishim.pb import cri_pb2 as cri

MANIFEST = "checkpoint.json"
ENDING = 60.0  # seconds a killed daemon's criu has to end by itself


class CheckpointedContainer(msgspec.Struct, frozen=True):
    name: str  # of the container's metadata
    file: str


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """checkpoint.json."""

    version: int
    pod: str  # its id, for people
    containers: tuple[CheckpointedContainer, ...]
    net_devices: dict[str, str] = {}  # host name by name in the pod


async def checkpoint_pod(node: Node, request: cri.CheckpointPodRequest) -> None:
    """Write a checkpoint of RUNNING containers to an empty directory; they go on running.

    Raises INVALID, NOT_FOUND, PRECONDITION (a container does not run), UNIMPLEMENTED if this host cannot do it,
    DEADLINE. After an error or cancellation the directory is empty again and all containers run.
    """
    pod = node.pods.find(request.pod_sandbox_id)
    if request.options:
        raise CrishimError(Kind.INVALID, f"there is no option {min(request.options)!r}")
    chosen = _chosen(node, pod, request.container_ids)
    output = Path(request.output_path)
    await node.paths.run(pod.id, lambda: _check_empty(request.output_path))
    for handler in sorted({c.handler for c in chosen}):
        await check_possible(node, handler)
    work = Path(node.config.state_dir) / "checkpoints" / pod.id
    async with contextlib.AsyncExitStack() as stack:
        for container in sorted(chosen, key=lambda c: c.id):
            await stack.enter_async_context(node.locks.holding(container.id))
        try:
            async with asyncio.timeout(DEFAULT_TIMEOUT):
                await executors.deletion(_begin, work)
                await _capture_all(node, [_running(node, c.id) for c in chosen], work)
                await _write(node, pod, chosen, work, output)
        except BaseException as error:
            await executors.deletion(shutil.rmtree, work, ignore_errors=True)
            if isinstance(error, TimeoutError):
                text = f"pod {pod.id[:13]} could not be checkpointed within {DEFAULT_TIMEOUT} s"
                raise CrishimError(Kind.DEADLINE, text, pod=pod.id) from None
            raise


def _chosen(node: Node, pod: PodRecord, ids: Sequence[str]) -> list[ContainerRecord]:
    if not ids:
        raise CrishimError(Kind.INVALID, "no container is named")
    chosen = [node.containers.find(id) for id in ids]
    for container in chosen:
        if container.pod_id != pod.id:
            raise CrishimError(Kind.INVALID, f"container {container.id[:13]} is not of pod {pod.id[:13]}")
        _running(node, container.id)
    names = [c.parse_config().metadata.name for c in chosen]
    for name in names:
        if names.count(name) > 1:
            raise CrishimError(Kind.INVALID, f"container {name!r} is named more than once")
    return chosen


def _running(node: Node, id: str) -> ContainerRecord:
    container = node.containers.find(id)
    if container.state is not ContainerState.RUNNING:
        text = f"container {container.id[:13]} is {container.state}: only a running one can be kept"
        raise CrishimError(Kind.PRECONDITION, text, container=container.id)
    return container


def _check_empty(path: str) -> None:
    if not path.startswith("/"):
        raise CrishimError(Kind.INVALID, f"output_path must be an absolute path, not {path!r}")
    looking_at(path)
    try:
        found = [p.name for p in Path(path).iterdir()]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CrishimError(Kind.INVALID, f"output_path {path!r} is no directory: {reason}", path=path) from error
    if found:
        raise CrishimError(Kind.INVALID, f"output_path {path!r} is not empty: there is {min(found)!r}", path=path)


def _begin(work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    directories.make_new(work)


async def _capture_all(node: Node, containers: Sequence[ContainerRecord], work: Path) -> None:
    async with paused(node, containers):
        for container in containers:
            await executors.deletion(prepare, work / container.id)
            await capture(node, container, work / container.id, DEFAULT_TIMEOUT)


async def _write(node: Node, pod: PodRecord, chosen: Sequence[ContainerRecord], work: Path, output: Path) -> None:
    members = [
        CheckpointedContainer(c.parse_config().metadata.name, f"container-{n}.tar") for n, c in enumerate(chosen)
    ]
    devices = {a.name: a.host.name for a in node.netdevices.attachments(pod.id)}
    content = msgspec.json.encode(Manifest(1, pod.id, tuple(members), devices))
    manifest = output / MANIFEST
    try:
        for member, container in zip(members, chosen, strict=True):
            own = work / container.id
            await archive(own, output / member.file, DEFAULT_TIMEOUT, lambda step: node.paths.run(pod.id, step))
            await executors.deletion(shutil.rmtree, own)
        await executors.deletion(work.rmdir)
        await node.paths.run(pod.id, lambda: _write_new(manifest, content))
    except BaseException as error:
        made = [manifest, *(output / m.file for m in members)]
        await node.paths.run(pod.id, lambda: _unlink(made))
        if isinstance(error, OSError):
            raise CrishimError(
                Kind.INVALID, f"cannot write {manifest}: {error.strerror}", path=str(manifest)
            ) from error
        raise


def _write_new(path: Path, content: bytes) -> None:
    looking_at(str(path))
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        looking_at(str(path))
        path.unlink(missing_ok=True)


async def clear_interrupted(node: Node) -> None:
    """At the start: remove what a killed daemon left of checkpoints, and resume the containers it had paused."""
    top = Path(node.config.state_dir) / "checkpoints"
    await executors.records(directories.own, top)
    for work in await executors.records(lambda: sorted(top.iterdir())):
        mine = [c for c in node.containers if work.name in (c.pod_id, c.id)]
        if mine:
            await thaw(mine)
            node.tasks.start(_resume_when_ended(node, mine, work), name=f"checkpoint {work.name[:13]}")
        else:
            await executors.deletion(shutil.rmtree, work, ignore_errors=True)


async def _resume_when_ended(node: Node, containers: Sequence[ContainerRecord], work: Path) -> None:
    """Resume containers again after the killed daemon's criu has ended: it leaves them paused, as it found them."""
    async with contextlib.AsyncExitStack() as stack:
        for id in sorted(c.id for c in containers):
            await stack.enter_async_context(node.locks.holding(id))
        await executors.deletion(_empty, work)  # criu cannot write any more and fails
        for process in await executors.processes(_writers, work):
            await processes.wait_gone(process, ENDING)
        await thaw(containers)
        await executors.deletion(shutil.rmtree, work, ignore_errors=True)


def _empty(work: Path) -> None:
    for path in work.iterdir():
        shutil.rmtree(path, ignore_errors=True)


def _writers(work: Path) -> set[ProcessRef]:
    """The runtimes that checkpoint into a directory, and their criu, which is in the same session (setsid(2))."""
    mark = os.fsencode(f"--work-path={work}")
    commands = process_trees.command_lines()
    pids = [
        pid
        for pid, command in commands.items()
        if any(word == mark or word.startswith(mark + b"/") for word in command)
    ]
    return {process for pid in pids for process in process_trees.members(pid, [pid])}
