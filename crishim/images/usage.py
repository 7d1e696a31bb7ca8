"""Measure the disk usage of directory trees: a container's writable layer, and the image store.

A tree may belong to a hostile container that changes it meanwhile: directories are opened relative to their parent and
never through a symlink, and depth is limited.

The store's usage is the sum over its layers. Layers never change, so each is walked once, in a thread; a call after
that costs two stat(2) calls. It counts allocated blocks: what statfs(2) would show as freed by a removal.
"""

import asyncio
import os
import stat
import time
from pathlib import Path

import msgspec

from crishim.images.store import ImageStore, Snapshot
from crishim.linux import executors

MAX_DEPTH = 200  # directories below one another; each costs an open file while it is walked


class DiskUsage(msgspec.Struct, frozen=True):
    bytes: int = 0  # allocated blocks
    inodes: int = 0  # the directory itself is one

    def __add__(self, other: "DiskUsage") -> "DiskUsage":
        return DiskUsage(self.bytes + other.bytes, self.inodes + other.inodes)


class StoreUsage(msgspec.Struct, frozen=True):
    taken_at: int  # ns since the epoch
    mountpoint: str  # an existing directory on the file system
    usage: DiskUsage


def measure(directory: Path) -> DiskUsage:
    """The usage of a tree; zero if it does not exist. A file with several hard links counts once. Blocks.

    Files removed meanwhile are not counted; below MAX_DEPTH directories count, but not their content.
    """
    try:
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return DiskUsage()
    total = DiskUsage(os.fstat(root).st_blocks * 512, 1)
    linked: set[tuple[int, int]] = set()
    waiting: list[tuple[int, list[str]]] = []
    try:
        found, names = _list(root, linked)
        total += found
        waiting.append((root, names))
        while waiting:
            fd, names = waiting[-1]
            if not names or len(waiting) > MAX_DEPTH:
                os.close(waiting.pop()[0])
                continue
            child = _open_directory(names.pop(), fd)
            if child is not None:
                waiting.append((child, []))
                found, below = _list(child, linked)
                total += found
                waiting[-1] = (child, below)
    finally:
        for fd, _ in waiting:
            os.close(fd)
    return total


def _open_directory(name: str, parent: int) -> int | None:
    try:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except OSError:
        return None  # removed, or no directory any more


def _list(fd: int, linked: set[tuple[int, int]]) -> tuple[DiskUsage, list[str]]:
    """The usage of a directory's entries, and the names of its subdirectories."""
    size = count = 0
    directories = []
    with os.scandir(fd) as entries:
        for entry in entries:
            try:
                info = os.stat(entry.name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(info.st_mode):
                directories.append(entry.name)
            elif info.st_nlink > 1:
                if (info.st_dev, info.st_ino) in linked:
                    continue
                linked.add((info.st_dev, info.st_ino))
            size += info.st_blocks * 512
            count += 1
    return DiskUsage(size, count), directories


class StoreMeter:
    """Usage of an image store, for ImageFsInfo."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._layers: dict[str, DiskUsage] = {}
        self._measured: Snapshot | None = None
        self._sum = DiskUsage()
        self._measuring = asyncio.Lock()

    async def usage(self) -> StoreUsage:
        """Bytes and inodes of all images now. The first call walks every layer; concurrent callers share the walk."""
        async with self._measuring:
            snapshot = await self._store.snapshot()
            if snapshot is not self._measured:
                self._sum = await executors.images(self._measure, snapshot)
                self._measured = snapshot
        return StoreUsage(time.time_ns(), str(self._store.root), self._sum)

    def _measure(self, snapshot: Snapshot) -> DiskUsage:
        root = self._store.root
        wanted = {layer for image in snapshot.images for layer in image.layers}
        kept = {id: self._layers[id] for id in wanted if id in self._layers}
        kept |= {id: measure(root / "overlay" / id) for id in wanted if id not in kept}
        self._layers = kept
        records = measure(root / "overlay-images") + measure(root / "overlay-layers")
        return sum(kept.values(), records)
