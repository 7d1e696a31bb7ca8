"""Containers from a checkpoint's archive: what CreateContainer, StartContainer and StopContainer do for them.

    CreateContainer   the archive opened, its image found -> the writable layer and criu's images unpacked
                      -> config.json compared with the checkpoint's
                      -> record CREATED with `restore`: there is no process
    StartContainer    conmon, the runtime's restore, criu -> RUNNING with process and monitor, criu's images deleted

Before its start it has no process to watch: the stop or the start records its exit. After a start during which the
daemon was killed, the runtime is asked. If it says "running" the start is complete; else it is undone: if its processes
may have run for a moment the container is EXITED with reason StartError, else it is CREATED again.
"""

import contextlib
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

from msgspec.structs import replace

from crishim.engine import checkpoint, checkpoint_archive, conmon
from crishim.engine.checkpoint_archive import Archive
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState, has_process
from crishim.linux import executors, programs
from crishim.model import ContainerRecord, PodRecord
from crishim.netdev.records import DeviceRequest
from crishim.node import Node
from crishim.operations.exits import START_FAILED, exited, release_container, watch_exit
from crishim.operations.launch import Drafted
from crishim.pb import cri_pb2 as cri
from crishim.spec.restored import check_restored, with_command

KILLED = 128 + 9  # exit code of a container that was stopped before it had a process
UNPACKING = 600.0  # seconds for tar(1) with a writable layer


class Restored:
    """The archive a container is made from. environment: whether the request's variables are compared with it."""

    def __init__(self, archive: Archive, *, environment: bool = False, devices: bool = True) -> None:
        """devices: whether check() raises for a missing network device; if not, the caller checks."""
        self.archive = archive
        self.base = archive.about.rootfs_image_ref
        self._environment = environment
        self._devices = devices

    async def fill(self, writable: Path) -> None:
        """Unpack criu's images, and the writable layer to `upper`, both in the container's writable directory."""
        stopped = threading.Event()
        try:
            layer = await executors.images(checkpoint_archive.unpack, self.archive, writable, stopped)
            argv = ["tar", "--extract", "--xattrs", "--xattrs-include=*", "--same-permissions", "--numeric-owner"]
            argv += [
                "--same-owner",
                "--delay-directory-restore",
                f"--file={layer}",
                f"--directory={writable / 'upper'}",
            ]
            await programs.run(argv, timeout=UNPACKING)
        except BaseException:
            stopped.set()
            raise
        await executors.images(layer.unlink)

    def described(self, container: ContainerRecord) -> ContainerRecord:
        """The record config.json is made from: with the checkpoint's command."""
        config = with_command(container.parse_config(), self.archive.spec)
        return replace(container, config=config.SerializeToString(deterministic=True))

    def check(
        self,
        node: Node,
        pod: PodRecord,
        container: ContainerRecord,
        drafted: Drafted,
        network: tuple[DeviceRequest, ...],
    ) -> None:
        """Raise INVALID if the request does not match the checkpoint. network: the requested devices."""
        about = self.archive.about
        if about.runtime != container.handler:
            text = (
                f"{self.archive.path} is a checkpoint by {about.runtime!r}, the pod's runtime is {container.handler!r}"
            )
            raise CrishimError(Kind.INVALID, text, path=self.archive.path)
        config = container.parse_config()
        check_restored(config, self.archive.spec, drafted.built.spec, environment=self._environment)
        if self._devices:
            names = {r.name or r.device for r in network} | {a.name for a in node.netdevices.attachments(pod.id)}
            check_devices(about.net_devices, names)


def check_devices(had: dict[str, str], names: set[str]) -> None:
    """Raise INVALID if the checkpointed pod had a network device that is not in names, this pod's."""
    for name in sorted(had.keys() - names):
        raise CrishimError(
            Kind.INVALID,
            f"the checkpointed pod had the network device {name} ({had[name]} on its host), which is not asked for",
            device=name,
        )


@contextlib.asynccontextmanager
async def requested_checkpoint(node: Node, config: cri.ContainerConfig) -> AsyncIterator[Restored | None]:
    """The archive that a request names as its image; None if the name is an image's.

    Raises DENIED unless the archive is in checkpoints.directory and only root can write it.
    """
    name = config.image.image
    if not name.startswith("/"):
        yield None
        return
    directory = node.config.checkpoints.directory
    if not directory:
        text = f"{name} is a path: without checkpoints.directory in the settings no checkpoint is restored"
        raise CrishimError(Kind.DENIED, text, path=name)
    async with opened(node, Path(directory), name) as archive:
        yield Restored(archive)


@contextlib.asynccontextmanager
async def opened(node: Node, top: Path, path: str) -> AsyncIterator[Archive]:
    """An archive, open during the context. Raises NOT_FOUND if its image is not in the store."""
    with contextlib.ExitStack() as stack:  # if cancelled meanwhile, it still closes what the thread opened
        archive = await executors.images(stack.enter_context, checkpoint_archive.opened(top, path))
        about = archive.about
        if await node.images.find(about.rootfs_image_ref) is None:
            raise CrishimError(
                Kind.NOT_FOUND,
                f"{path} is a checkpoint of image {about.rootfs_image!r} ({about.rootfs_image_ref}), which is not in "
                "the store: pull it first",
                image=about.rootfs_image_ref,
            )
        yield archive


async def launch(node: Node, container: ContainerRecord) -> conmon.Launched:
    """Restore the processes. On an error none of them is left, and the record is CREATED or EXITED (_undo)."""
    images = node.filesystems.criu_images(container.id)
    try:
        return await node.launcher.create(container, node.filesystems.log(container), images)
    except CrishimError as error:
        await _undo(node, container, error.message)
        details = await executors.records(checkpoint.criu_errors, node.launcher.bundle(container.id) / "restore.log")
        raise CrishimError(error.kind, f"{error.message}{details}", **error.facts) from error
    except BaseException as error:
        await _undo(node, container, f"the restore was given up: {type(error).__name__}")
        raise


async def restored(node: Node, container: ContainerRecord, launched: conmon.Launched) -> ContainerRecord:
    """Record that a container is restored, and watch its exit."""
    fields = {"process": launched.process, "monitor": launched.monitor, "restore": False}
    running = await node.containers.update(container.id, lambda c: replace(c, state=ContainerState.RUNNING, **fields))
    watch_exit(node, running)
    await node.filesystems.delete_criu_images(container.id)
    return running


async def broken_off(node: Node, container: ContainerRecord) -> ContainerRecord:
    """Settle an interrupted start: RUNNING, or as _undo() says. The caller holds its lock."""
    launched = await executors.processes(conmon.launched, node.launcher.bundle(container.id))
    if launched and await node.launcher.runtime(container).state(container.id) == "running":
        return await restored(node, container, launched)
    return await _undo(node, container, "the restore was given up")


async def _undo(node: Node, container: ContainerRecord, why: str) -> ContainerRecord:
    """Kill what a restore has started. CREATED again, or EXITED if the processes may have run: never twice.

    The runtime records a container as running right before criu resumes its processes.
    """
    await executors.processes(conmon.kill_monitor, node.launcher.bundle(container.id), search=True)
    ran = await node.launcher.runtime(container).state(container.id) in ("running", "paused", "stopped")
    await node.launcher.end(container)
    if not ran:
        again = replace(container, state=ContainerState.CREATED, started_at=0)
        return await node.containers.update(container.id, lambda _: again)
    ended = await _record_end(node, replace(container, reason=START_FAILED, message=why))
    node.tasks.start(release_container(node, ended.id), name=f"exit {ended.id[:13]}")
    return ended


async def recover(node: Node, container: ContainerRecord) -> None:
    """At the daemon's start: settle an interrupted start; a container not started yet is unchanged."""
    if container.state is ContainerState.STARTING:
        async with node.locks.holding(container.id):
            await broken_off(node, node.containers.find(container.id))


async def end_unrestored(node: Node, id: str) -> None:
    """Stop a container that has no process yet; a restore in progress is killed, and waited for."""
    container = node.containers.get(id)
    if container is not None and container.state is ContainerState.STARTING:
        await executors.processes(conmon.kill_monitor, node.launcher.bundle(id), search=True)
    async with node.locks.holding(id):
        container = node.containers.get(id)
        if container is None or not container.restore or not has_process(container.state):
            return
        await node.launcher.end(container)
        await _record_end(node, container)
    await release_container(node, id)


async def _record_end(node: Node, container: ContainerRecord) -> ContainerRecord:
    async with node.nri.requests():
        ended = exited(container, KILLED, time.time_ns(), oom=False, tell=node.nri.active)
        return await node.containers.update(container.id, lambda _: ended)
