"""Block devices and file systems as the metrics label them. statvfs(3), sysfs."""

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from crishim.linux import mounts


class Filesystem(msgspec.Struct, frozen=True):
    device: str  # as the mount table names it: "/dev/sda1", "tmpfs"
    major: int = 0
    minor: int = 0
    bytes: int = 0
    inodes: int = 0  # 0 where the file system makes them as needed
    inodes_free: int = 0


class BlockDevices:
    """Caches names. Its calls block briefly."""

    def __init__(self, sysfs: Path = Path("/sys/dev/block")) -> None:
        self._sysfs = sysfs
        self._names: dict[tuple[int, int], str] = {}
        self._sources: dict[int, str] = {}

    def names(self, numbers: Iterable[tuple[int, int]]) -> dict[tuple[int, int], str]:
        """The path below /dev of each block device, or its numbers where sysfs does not know it."""
        for pair in numbers:
            if pair not in self._names:
                self._names[pair] = self._name(*pair)
        return {pair: self._names[pair] for pair in numbers}

    def filesystem(self, directory: Path) -> Filesystem:
        """The file system a directory is on; zeros if the directory does not exist yet."""
        try:
            info, number = os.statvfs(directory), directory.stat().st_dev
        except FileNotFoundError:
            return Filesystem("")
        if number not in self._sources:
            self._sources[number] = mount_source(directory)
        return Filesystem(
            self._sources[number],
            os.major(number),
            os.minor(number),
            bytes=info.f_blocks * info.f_frsize,
            inodes=info.f_files,
            inodes_free=info.f_ffree,
        )

    def _name(self, major: int, minor: int) -> str:
        try:
            lines = (self._sysfs / f"{major}:{minor}" / "uevent").read_text().splitlines()
        except OSError:
            lines = []
        return next(
            ("/dev/" + x.removeprefix("DEVNAME=") for x in lines if x.startswith("DEVNAME=")), f"{major}:{minor}"
        )


def mount_source(directory: Path) -> str:
    """The mount source of a directory's file system, of the newest of mounts on one path; "" if there is none."""
    path = str(directory.resolve())
    above = [p for p in mounts.table() if path == p.target or path.startswith(p.target.rstrip("/") + "/")]
    return max(reversed(above), key=lambda p: len(p.target)).source if above else ""
