"""Mount root file systems of containers: overlayfs over the layers of an image (the kernel's
Documentation/filesystems/overlayfs.rst).

    STATE/upper, STATE/work    the writable layer, on the disk of the state directory
    TARGET                     the mount point, below the run directory

Directories are passed as /proc/self/fd/N: the mount options of 200 layers fit into one page, and no character of a path
is special to the option parser. With a user namespace the lower directories are in one idmapped mount of the whole
store (mount_setattr(2)), so nothing is chowned or copied; it is unmounted as soon as overlayfs has its own clone. The
overlay is mounted `volatile`: no sync of the whole disk at each unmount. A container does not survive a power cut, and
its writable layer is not used after it.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from crishim.errors import CrishimError, Kind
from crishim.images.usage import DiskUsage, measure
from crishim.linux import directories, executors, mounts, programs
from crishim.model import ImageRecord, OwnerRange

MAX_LAYERS = 200  # as many /proc/self/fd/N as fit in the page of mount options
REMOVE_TIMEOUT = 120.0  # seconds for rm of a writable layer


class IdMap(msgspec.Struct, frozen=True):
    """The id mappings of a container with a user namespace."""

    uids: tuple[OwnerRange, ...]
    gids: tuple[OwnerRange, ...]
    userns: str  # path of a user namespace with these mappings


class RootFilesystems:
    """Mounts images of one store."""

    def __init__(self, store_root: Path) -> None:
        """store_root: the graph root of the containers/storage store."""
        self._overlay = store_root / "overlay"
        self._empty = store_root / "empty-layers"

    async def mount(
        self, image: ImageRecord, state: Path, target: Path, *, idmap: IdMap | None = None, label: str = ""
    ) -> Path:
        """Mount an image with a writable layer of its own, and return target.

        state and target are created if needed, mode 0700; their parents must exist. idmap: of the pod's user namespace,
        whose root then owns the file system's root. label: an SELinux label for all its files. After an error nothing
        is mounted. Raises PRECONDITION if the kernel or a file system lacks overlayfs or idmapped mounts, NOT_FOUND if
        a layer is gone.
        """
        with _explained(image, target):
            await executors.kernel(self._mount, image, state, target, idmap, label)
        return target

    async def mount_readonly(
        self, image: ImageRecord, target: Path, *, idmap: IdMap | None = None, label: str = ""
    ) -> Path:
        """Mount an image read-only, without a writable layer: for image volumes. As mount()."""
        with _explained(image, target):
            await executors.kernel(self._mount, image, None, target, idmap, label)
        return target

    async def unmount(self, target: Path) -> None:
        """Unmount a file system and remove its mount point, if there is one."""
        await executors.kernel(_unmount, target)

    async def remove(self, state: Path, target: Path) -> None:
        """Unmount a container's file system and remove its writable layer, if there is one."""
        await self.unmount(target)
        try:
            await executors.deletion(_remove_tree, state)
        except (OSError, RecursionError):
            # Too deep for shutil.rmtree; or busy, which rm reports.
            await programs.run(["rm", "-rf", "--one-file-system", "--", state], timeout=REMOVE_TIMEOUT)

    async def usage(self, state: Path) -> DiskUsage:
        """Bytes and inodes of a container's writable layer."""
        return await executors.statistics(measure, state / "upper")

    def _mount(self, image: ImageRecord, state: Path | None, target: Path, idmap: IdMap | None, label: str) -> None:
        if len(image.layers) > MAX_LAYERS:
            raise CrishimError(Kind.INVALID, f"image {image.id} has more than {MAX_LAYERS} layers", image=image.id)
        directories.own(target)
        try:
            with contextlib.ExitStack() as stack:
                overlay = stack.enter_context(self._mapped(target, idmap)) if idmap else self._overlay
                lowers = [_open(stack, overlay / layer / "diff") for layer in image.layers]
                # overlayfs needs a lower layer, and two without an upper one.
                while len(lowers) < (1 if state else 2):
                    empty = self._empty / str(len(lowers))  # a directory can be only one layer
                    directories.own(self._empty)
                    directories.own(empty, directories.PUBLIC)
                    lowers.append(_open(stack, empty))
                options = ["lowerdir=" + ":".join(lowers)]
                if state:
                    self._make_writable(state, image, idmap)
                    upper, work = _open(stack, state / "upper"), _open(stack, state / "work")
                    options += [f"upperdir={upper}", f"workdir={work}", "volatile"]
                if label:
                    options.append(f'context="{label}"')
                flags = 0 if state else mounts.MS_RDONLY | mounts.MS_NODEV
                mounts.mount("overlay", "overlay", target, flags=flags, data=",".join(options))
                mounts.mount("", "", target, flags=mounts.MS_PRIVATE)
        except BaseException:
            _unmount(target)
            raise

    def _make_writable(self, state: Path, image: ImageRecord, idmap: IdMap | None) -> None:
        """The upper directory, with the owner and mode of the image's root: the merged root shows the upper's."""
        upper, work = state / "upper", state / "work"
        shutil.rmtree(work, ignore_errors=True)  # of an earlier volatile mount, which forbids another
        directories.own(state)
        directories.make_new(work)
        top = (self._overlay / image.layers[0] / "diff").stat() if image.layers else None
        uid, gid = (top.st_uid, top.st_gid) if top else (0, 0)
        # containers/storage makes roots 0555 if the image has no mode; other runtimes 0755.
        directories.own(upper, (top.st_mode & 0o7777 if top else 0) | 0o755)
        if idmap:
            uid, gid = host_id(uid, idmap.uids), host_id(gid, idmap.gids)
        os.chown(upper, uid, gid)

    @contextlib.contextmanager
    def _mapped(self, target: Path, idmap: IdMap) -> Iterator[Path]:
        """An idmapped mount of the store's layers, during the context."""
        point = target.with_name(target.name + ".mapped")
        directories.own(point)
        try:
            tree = mounts.clone_tree(self._overlay)
            try:
                userns = os.open(idmap.userns, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    mounts.set_idmap(tree, userns)
                finally:
                    os.close(userns)
                mounts.attach_tree(tree, point)
                mounts.mount("", "", point, flags=mounts.MS_PRIVATE)
            finally:
                os.close(tree)
            yield point
        finally:
            _unmount(point)


def host_id(id: int, ranges: tuple[OwnerRange, ...]) -> int:
    """The host id of a container's id. Raises INVALID if it is not mapped."""
    for part in ranges:
        if part.container <= id < part.container + part.length:
            return part.host + id - part.container
    raise CrishimError(Kind.INVALID, f"id {id} has no mapping in the user namespace")


def _open(stack: contextlib.ExitStack, path: Path) -> str:
    """A directory as a path of a few characters, valid until the stack is closed."""
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return f"/proc/self/fd/{fd}"


def _unmount(target: Path) -> None:
    mounts.unmount(target)
    with contextlib.suppress(FileNotFoundError):
        target.rmdir()


def _remove_tree(state: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(state)


@contextlib.contextmanager
def _explained(image: ImageRecord, target: Path) -> Iterator[None]:
    """Turn an OSError of a mount into a CrishimError that names the image."""
    try:
        yield
    except OSError as error:
        kinds = {errno.ENOENT: Kind.NOT_FOUND, errno.ENOSPC: Kind.EXHAUSTED, errno.EDQUOT: Kind.EXHAUSTED}
        kinds |= dict.fromkeys((errno.EINVAL, errno.ENODEV, errno.EOPNOTSUPP, errno.EPERM), Kind.PRECONDITION)
        kind = kinds.get(error.errno or 0, Kind.INTERNAL)
        text = f"image {image.id} cannot be mounted: {error.strerror}: {error.filename or target}"
        raise CrishimError(kind, text, image=image.id, path=str(target)) from error
