"""What a container sees as its file system: the image's layers with a writable one on top, image volumes, mounts.

STATE_DIR/writable/ID         upper and work directory, and checkpoint/ of one that is to be restored
RUN_DIR/roots/ID/rootfs       the mounted root
RUN_DIR/roots/ID/volume-N     image volumes, read-only, in the order of the request's mounts
RUN_DIR/roots/ID/log          where conmon finds the container's log (engine/logs.py), log-file its mount

Nobody else on the host may reach them: there are setuid files in there. Both IDs are 0700; roots/ID lets the root of
the pod's user namespace pass, as the OCI runtime has become it when it mounts the root.
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
    """Where containers' file systems lie."""

    writable: Path
    roots: Path

    def root(self, container_id: str) -> Path:
        return self.roots / container_id / "rootfs"

    def log(self, container: ContainerRecord) -> Path:
        """Where conmon finds the container's log."""
        return logs.place(self.roots / container.id, container.log_path)


class NewLog(NamedTuple):
    """A file that waits for conmon to reopen its log."""

    link: Path  # gone when conmon has
    is_first: bool  # no earlier one waits


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
        """The image a container is made from; it and those of image volumes are not removed meanwhile. base: another
        than the request names, a checkpoint's.

        NOT_FOUND names the image that is not there; INVALID if none is asked for.
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

        fill: puts what a container wrote earlier into the directory `upper` of the directory that it is given.

        DEADLINE names a host path that does not answer.
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
        """What the container wrote: the upper directory of its writable layer."""
        return self.writable / container_id / "upper"

    def log(self, container: ContainerRecord) -> str:
        """Where conmon finds the container's log; "" if it keeps none."""
        return str(self._places.log(container)) if container.log_path else ""

    async def attach_log(self, pod: PodRecord, container: ContainerRecord) -> None:
        """Make the container's log, if it keeps one, and let conmon find it; errors as of logs.open_file()."""
        if container.log_path:
            await self._attach_log(pod, container, self._places.log(container), anew=False)

    async def attach_new_log(self, pod: PodRecord, container: ContainerRecord) -> NewLog:
        """Make another file for the container's log, for conmon to reopen; errors as of logs.open_file()."""
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
        """Mount the images of image volumes. The kubelet knows their failure by a prefix and the code UNKNOWN."""
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
            # Its reference in ContainerStatus is what PullImage answered (KEP-5365), so the kubelet can compare.
            volumes[mount.container_path] = ImageVolume(directory=str(directory), image_id=image.id, image_ref=image.id)
        return volumes

    async def release(self, container: ContainerRecord) -> None:
        """Unmount what an ended container had mounted; its writable layer stays."""
        await self._unmount(self._places.roots / container.id)

    async def delete(self, container_id: str) -> None:
        """Unmount, and delete the writable layer; fine if all of it is gone."""
        directory = self._places.roots / container_id
        await self._unmount(directory)
        await self._roots.remove(self._places.writable / container_id, self._places.root(container_id))
        await executors.records(_remove_empty, directory)

    async def _unmount(self, directory: Path) -> None:
        await executors.kernel(logs.unlink_file, directory)
        for target in await executors.records(lambda: sorted(directory.glob("*"))):
            await self._roots.unmount(target)

    async def remove_orphans(self, keep: set[str]) -> None:
        """Delete what belongs to containers that are not in keep."""
        for id in await executors.records(self._known) - keep:
            await self.delete(id)

    def _known(self) -> set[str]:
        found = (d for d in (self._places.writable, self._places.roots) if d.exists())
        return {p.name for d in found for p in d.iterdir() if is_id(p.name)}


def _remove_empty(directory: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        directory.rmdir()
