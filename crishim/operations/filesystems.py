"""A container's file systems: the image's layers with a writable layer on top, image volumes, mounts.

STATE_DIR/writable/ID         upper and work directory, and checkpoint/ of one that is to be restored
RUN_DIR/roots/ID/rootfs       the mounted root
RUN_DIR/roots/ID/volume-N     image volumes, read-only, in the order of the request's mounts
RUN_DIR/roots/ID/log          where conmon finds the container's log (engine/logs.py), log-file its mount

No other user of the host may reach them: they hold setuid files. Both ID directories are 0700; roots/ID also lets the
root of the pod's user namespace through, since the OCI runtime mounts the root file system as that user.
"""

import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from crishim.engine import logs
from crishim.engine.checkpoint_archive import IMAGES
from crishim.engine.handlers import Handlers
from crishim.engine.sandbox import root_group, user_mappings
from crishim.errors import CrishimError, Kind
from crishim.ids import is_id
from crishim.images.holds import Holds
from crishim.images.rootfs import IdMap, RootFilesystems
from crishim.images.store import ImageStore
from crishim.linux import directories, executors
from crishim.linux.pod_paths import PodPaths
from crishim.model import ContainerRecord, ImageRecord, PodRecord
from crishim.pb import cri_pb2 as cri
from crishim.spec.mounts import ImageVolume, Prepared, resolve


class PreparedRoot(msgspec.Struct, frozen=True):
    """Everything mounted for a container, before its config.json is written."""

    rootfs: str
    mounts: tuple[Prepared, ...]


class Places(msgspec.Struct, frozen=True):
    """The directories of containers' file systems."""

    writable: Path
    roots: Path

    def root(self, container_id: str) -> Path:
        return self.roots / container_id / "rootfs"

    def log(self, container: ContainerRecord) -> Path:
        """The link by which conmon opens the container's log."""
        return logs.place(self.roots / container.id, container.log_path)


class NewLog(NamedTuple):
    """A new log file that conmon is to open."""

    link: Path  # conmon removes it when it has opened the file
    is_first: bool  # no earlier one is still waiting


class Filesystems:
    """Mounts for containers. writable: the directory of the writable layers."""

    def __init__(
        self,
        images: ImageStore,
        uses: Holds,
        roots: RootFilesystems,
        places: Places,
        handlers: Handlers,
        paths: PodPaths,
        *,
        create_missing: bool,
    ) -> None:
        """create_missing: make host paths that do not exist (runtimes.missing_host_path)."""
        self._images = images
        self._uses = uses
        self._roots = roots
        self._places = places
        self.writable = places.writable
        self._handlers = handlers
        self._paths = paths
        self._create_missing = create_missing

    @contextlib.asynccontextmanager
    async def using(self, config: cri.ContainerConfig, base: str = "") -> AsyncIterator[ImageRecord]:
        """The image a container is made from; it and those of image volumes cannot be removed meanwhile. base: a
        checkpoint's image, instead of the request's. Raises NOT_FOUND for a missing image, INVALID if the request names
        none.
        """
        name = base or config.image.image
        if not name:
            raise CrishimError(Kind.INVALID, "the container's configuration names no image")
        image = await self._images.find(name)
        if image is None:
            raise CrishimError(Kind.NOT_FOUND, f"image {name!r} is not in the store: pull it first", image=name)
        with contextlib.ExitStack() as holds:
            holds.enter_context(self._uses.hold(image.id))
            for volume_name in (m.image.image for m in config.mounts if m.image.image):
                volume = await self._images.find(volume_name)
                if volume is not None:
                    holds.enter_context(self._uses.hold(volume.id))
            yield image

    async def prepare(
        self,
        pod: PodRecord,
        container: ContainerRecord,
        image: ImageRecord,
        fill: Callable[[Path], Awaitable[None]] | None = None,
    ) -> PreparedRoot:
        """Mount the root file system and the image volumes, and resolve the mounts; after a failure call delete().

        fill: writes a checkpoint's writable layer to `upper` in the directory it is given. Raises DEADLINE, naming it,
        if a host path does not answer.
        """
        config = container.parse_config()
        uids, gids = user_mappings(pod.parse_config())
        idmap = IdMap(uids, gids, pod.namespaces.user) if pod.namespaces.user else None
        writable = self._places.writable / container.id
        await executors.records(self._make_directories, pod, container.id)
        if fill is not None:
            await executors.records(directories.own, writable / "upper")
            await fill(writable)
        rootfs = await self._roots.mount(image, writable, self._places.root(container.id), idmap=idmap)
        volumes = await self._volumes(container.id, config, idmap)
        await self.attach_log(pod, container)
        features = await self._handlers.get(container.handler).features()
        wanted = list(config.mounts)
        mounts = await self._paths.run(
            pod.id,
            lambda: resolve(wanted, volumes, create_missing=self._create_missing, features=features or None),
        )
        return PreparedRoot(str(rootfs), mounts)

    def criu_images(self, container_id: str) -> Path:
        """The images of a container that is to be restored."""
        return self.writable / container_id / IMAGES

    async def delete_criu_images(self, container_id: str) -> None:
        await executors.deletion(shutil.rmtree, self.criu_images(container_id), ignore_errors=True)

    def upper(self, container_id: str) -> Path:
        """The upper directory of the container's writable layer."""
        return self.writable / container_id / "upper"

    def log(self, container: ContainerRecord) -> str:
        """The path conmon opens as the container's log; "" if it has none."""
        return str(self._places.log(container)) if container.log_path else ""

    async def attach_log(self, pod: PodRecord, container: ContainerRecord) -> None:
        """Create the container's log, if it has one, and the link for conmon. Raises what logs.open_file() does."""
        if container.log_path:
            await self._attach_log(pod, container, self._places.log(container), anew=False)

    async def attach_new_log(self, pod: PodRecord, container: ContainerRecord) -> NewLog:
        """Create a new file of the container's log, for conmon to reopen. Raises what logs.open_file() does."""
        place = self._places.log(container)
        link = place.with_name(f"{place.name}.tmp")
        return NewLog(link, await self._attach_log(pod, container, link, anew=True))

    async def _attach_log(self, pod: PodRecord, container: ContainerRecord, link: Path, *, anew: bool) -> bool:
        top, path = pod.parse_config().log_directory, container.log_path
        file = await self._paths.run(pod.id, lambda: logs.open_file(top, path, anew=anew))
        try:
            return await executors.kernel(logs.link_file, file, path, link)
        finally:
            file.close()

    def _make_directories(self, pod: PodRecord, container_id: str) -> None:
        directories.own(self._places.writable / container_id)
        directories.own(self._places.roots / container_id, group=root_group(pod.parse_config()))

    async def _volumes(
        self, container_id: str, config: cri.ContainerConfig, idmap: IdMap | None
    ) -> dict[str, ImageVolume]:
        """Mount the images of image volumes. The kubelet recognises an error by its prefix and the code UNKNOWN."""
        volumes = {}
        for number, mount in enumerate(config.mounts):
            name = mount.image.image
            if not name:
                continue
            try:
                image = await self._images.find(name)
                if image is None:
                    raise CrishimError(Kind.NOT_FOUND, f"image {name!r} is not in the store")
                target = self._places.roots / container_id / f"volume-{number}"
                directory = await self._roots.mount_readonly(image, target, idmap=idmap)
            except CrishimError as error:
                raise CrishimError(Kind.UNKNOWN, f"ImageVolumeMountFailed: {error.message}", image=name) from error
            # Its reference in ContainerStatus must equal PullImage's image_ref (KEP-5365).
            volumes[mount.container_path] = ImageVolume(directory=str(directory), image_id=image.id, image_ref=image.id)
        return volumes

    async def release(self, container: ContainerRecord) -> None:
        """Unmount an exited container's file systems; its writable layer stays."""
        await self._unmount(self._places.roots / container.id)

    async def delete(self, container_id: str) -> None:
        """Unmount, and delete the writable layer; does nothing if all is gone."""
        directory = self._places.roots / container_id
        await self._unmount(directory)
        await self._roots.remove(self._places.writable / container_id, self._places.root(container_id))
        await executors.records(_remove_empty, directory)

    async def _unmount(self, directory: Path) -> None:
        await executors.kernel(logs.unlink_file, directory)
        for target in await executors.records(lambda: sorted(directory.glob("*"))):
            await self._roots.unmount(target)

    async def remove_orphans(self, keep: set[str]) -> None:
        """Delete the file systems of containers that are not in keep."""
        for id in await executors.records(self._known) - keep:
            await self.delete(id)

    def _known(self) -> set[str]:
        found = (d for d in (self._places.writable, self._places.roots) if d.exists())
        return {p.name for d in found for p in d.iterdir() if is_id(p.name)}


def _remove_empty(directory: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        directory.rmdir()
