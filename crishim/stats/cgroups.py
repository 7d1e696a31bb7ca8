"""Reads a cgroup's files. Every call blocks for some 10 us a file: call them in a thread, one for a whole list.

cgroupfs reads counters in memory, so a group whose tasks hang is read as fast as any other.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from crishim.linux import cgroups
from crishim.stats import v1, v2
from crishim.stats.measurements import Detail, Usage

_CHUNK = 16384
_MAX_GROUPS = 2000  # read below one container, which can make groups if it is privileged
_HUGE_PAGES = Path("/sys/kernel/mm/hugepages")


class Cgroups:
    """The hierarchies of a host."""

    def __init__(self, roots: Mapping[str, Path], version: int, huge_page_sizes: Iterable[str] = ()) -> None:
        """roots: mount point by controller (v1), "unified" for a v2 hierarchy. huge_page_sizes: "2MB", "1GB"."""
        # Controllers mounted together ("cpu,cpuacct") have an entry each.
        self._roots = {name: str(root) for joint, root in roots.items() for name in joint.split(",")}
        self._kind = v2 if version == 2 else v1
        self._sizes = tuple(huge_page_sizes)
        self._detail = self._kind.DETAIL + self._kind.huge_page_files(self._sizes)
        # The hierarchy from which a group's processes are read.
        listing = ("unified",) if version == 2 else ("pids", "memory", "systemd", "unified")
        self._processes = next((self._roots[name] for name in listing if name in self._roots), "")

    @classmethod
    def probe(cls) -> "Cgroups":
        """The hierarchies of this host."""
        sizes = [d.name for d in _HUGE_PAGES.iterdir()] if _HUGE_PAGES.is_dir() else []
        return cls(cgroups.hierarchies(), cgroups.version(), sorted(page_size(s) for s in sizes))

    def usage(self, cgroup: str) -> Usage | None:
        """What the group uses now; None if there is no such group."""
        files = self._read(cgroup, self._kind.USAGE)
        return self._kind.usage(files, time.time_ns()) if files else None

    def detail(self, cgroup: str) -> Detail | None:
        """What only the metrics show; None if there is no such group."""
        files = self._read(cgroup, self._detail)
        return self._kind.detail(files, self._sizes) if files else None

    def processes(self, cgroup: str) -> list[int]:
        """Pids in the group and in those below it. Of a container with very many groups, those of the first 2000."""
        if not cgroup.strip("/"):
            return []
        found: list[int] = []
        waiting = [f"{self._processes}/{cgroup.strip('/')}"]
        seen = 0
        while waiting and seen < _MAX_GROUPS:
            directory = waiting.pop()
            seen += 1
            with contextlib.suppress(OSError):  # gone, or a threaded group: its processes are listed above it
                found += [int(pid) for pid in read_all(f"{directory}/cgroup.procs").split()]
            waiting += below(directory)
        return found

    def _read(self, cgroup: str, names: Iterable[str]) -> dict[str, bytes]:
        relative = cgroup.strip("/")
        found: dict[str, bytes] = {}
        if not relative:  # the root is the whole host, no container's
            return found
        for name in names:
            controller, _, file = name.partition("/")
            root = self._roots.get(controller)
            if root is None:
                continue
            try:
                fd = os.open(f"{root}/{relative}/{file}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                found[name] = os.read(fd, _CHUNK)
            except OSError:  # EOPNOTSUPP: PSI is switched off; ENODEV: removed meanwhile
                continue
            finally:
                os.close(fd)
        return found


def read_all(path: str) -> bytes:
    """A file of any length; cgroup.procs is returned in pieces."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces = []
        while piece := os.read(fd, _CHUNK):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(fd)


def below(directory: str) -> list[str]:
    """The groups directly below one. The directory is not listed if its link count shows that there are none."""
    try:
        if os.stat(directory).st_nlink == 2:  # noqa: PTH116
            return []
        with os.scandir(directory) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def page_size(name: str) -> str:
    """ "hugepages-2048kB" as cgroup files name it: "2MB"."""
    kib = int(name.removeprefix("hugepages-").removesuffix("kB"))
    for unit, factor in (("GB", 1 << 20), ("MB", 1 << 10)):
        if kib >= factor:
            return f"{kib // factor}{unit}"
    return f"{kib}KB"
