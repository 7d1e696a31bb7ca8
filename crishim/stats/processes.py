"""Counts processes' file descriptors and sockets, and reads their limit. proc_pid_fd(5), proc_pid_limits(5).

A process that ends meanwhile has no descriptors.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

MAX_LINKS = 20_000  # descriptors of one container whose type is read; the others are only counted


class Processes(msgspec.Struct, frozen=True):
    count: int = 0
    descriptors: int = 0
    sockets: int = 0
    max_open_files: int | None = None  # soft limit of the eldest process; None: unlimited or unknown


def count(pids: Iterable[int]) -> Processes:
    """Count over these processes. Blocks: 2 us a descriptor."""
    eldest_first = sorted(pids)
    descriptors = sockets = links = 0
    for pid in eldest_first:
        with contextlib.suppress(OSError):
            names = os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208
            descriptors += len(names)
            for name in names[: max(MAX_LINKS - links, 0)]:
                links += 1
                with contextlib.suppress(OSError):
                    sockets += os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")  # noqa: PTH115
    limit = open_files_limit(_limits(eldest_first[0])) if eldest_first else None
    return Processes(len(eldest_first), descriptors, sockets, limit)


def open_files_limit(text: str) -> int | None:
    """The soft limit of `Max open files  SOFT  HARD  files`."""
    for line in text.splitlines():
        if line.startswith("Max open files"):
            soft = line.removeprefix("Max open files").split()[0]
            return int(soft) if soft.isdigit() else None
    return None


def _limits(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/limits").read_text()
    except OSError:
        return ""
