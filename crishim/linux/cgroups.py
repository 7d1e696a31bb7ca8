"""cgroups: the mounted hierarchies; making, killing and removing a group. cgroups(7).

A cgroup is named by its path below the root of each hierarchy ("/kubepods/pod1/abc"): on v1 the same path is in every
controller's hierarchy, on v2 in the single one.
"""

import contextlib
import functools
import os
import signal
import time
from pathlib import Path

from crishim.linux import mounts, proc_files
from crishim.linux.directories import PUBLIC, make_missing

ROOT = Path("/sys/fs/cgroup")
_KILL_ROUNDS, _KILL_PAUSE = 100, 0.01  # at most a second until the killed are gone from the group


def version(points: list[mounts.MountPoint] | None = None) -> int:
    """2 where the unified hierarchy is mounted on /sys/fs/cgroup, else 1 (also the hybrid set-up of systemd)."""
    points = mounts.table() if points is None else points
    return 2 if any(p.target == str(ROOT) and p.fstype == "cgroup2" for p in points) else 1


def hierarchies() -> dict[str, Path]:
    """Mount point by controller on v1 ("memory", "cpu", "name=systemd"), plus "unified" for a v2 hierarchy.

    The mount table, which has lines of each pod, is read again only if /proc/self/cgroup lists other hierarchies (it
    does not show that one was unmounted and mounted again).
    """
    lines = proc_files.read("/proc/self/cgroup").splitlines()
    known = b" ".join(b":".join(line.split(b":", 2)[:2]) for line in lines)
    device = ROOT.stat().st_dev if ROOT.exists() else 0
    return dict(_mounted(known, Path("/proc/thread-self/ns/mnt").readlink(), device))


@functools.lru_cache(maxsize=1)
def _mounted(*_: object) -> dict[str, Path]:
    return of_table(mounts.table())


def of_table(points: list[mounts.MountPoint]) -> dict[str, Path]:
    """hierarchies() of a mount table."""
    found = {}
    for point in points:
        if point.fstype == "cgroup2" and point.target.startswith(str(ROOT)):
            found["unified"] = Path(point.target)
        elif point.fstype == "cgroup" and point.target.startswith(str(ROOT)):
            found[Path(point.target).name] = Path(point.target)
    return found


def directories(path: str) -> list[Path]:
    """Every directory that exists for a cgroup, one a hierarchy."""
    relative = path.lstrip("/")
    if not relative:
        return []
    return [d for root in hierarchies().values() if (d := root / relative).is_dir()]


def processes(path: str) -> set[int]:
    """Pids in a cgroup and below it, in any hierarchy."""
    found: set[int] = set()
    for directory in directories(path):
        for parent, _, _ in os.walk(directory):
            with contextlib.suppress(OSError):
                found |= {int(pid) for pid in (Path(parent) / "cgroup.procs").read_text().split()}
    return found


def of_process(pid: int, name: str) -> str:
    """The cgroup a process is in, up to the directory `name`; "" if it is not below one."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return ""
    for path in (line.split(":", 2)[2] for line in lines):
        head, found, _ = f"{path}/".partition(f"/{name}/")
        if found:
            return f"{head}/{name}"
    return ""


def kill(path: str) -> bool:
    """SIGKILL everything in a cgroup and below, newly forked processes too; True once none is left."""
    for directory in directories(path):
        with contextlib.suppress(OSError):
            (directory / "cgroup.kill").write_text("1")
    for _ in range(_KILL_ROUNDS):
        pids = processes(path)
        if not pids:
            return True
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_KILL_PAUSE)
    return not processes(path)


def make(path: str) -> None:
    """Make a cgroup in every hierarchy, with those above it. Limits and v2's controllers are left to the runtime."""
    for hierarchy in {*hierarchies().values()} or {ROOT}:
        make_missing(hierarchy / path.lstrip("/"), PUBLIC)


def remove_one(path: str) -> None:
    """Remove a cgroup that has none below it and no process; any other stays."""
    for directory in directories(path):
        with contextlib.suppress(OSError):
            directory.rmdir()


def remove(path: str) -> None:
    """Remove an empty cgroup with those below it; one that still holds processes stays. Never the root."""
    for top in directories(path):
        for parent, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                Path(parent).rmdir()
