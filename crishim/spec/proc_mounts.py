"""Checks that nothing is mounted over /proc, so that what the OCI runtime writes there reaches the kernel.

The OCI runtime sets labels and limits through /proc after the container's mounts are made. A file or volume mounted
over a part of it, directly or through a symlink of the image or of another volume, would get those writes
(CVE-2019-16884, CVE-2023-28642). runc refuses that, crun does not: the rule here is runc's, for both.

check_proc_mounts() checks the spec, and its errors name the mount. A symlink in a volume that a running container
shares may be changed before the runtime follows it; so find_mount_over_proc() checks the mounts of the created
container before its start.
"""

import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from crishim.errors import CrishimError, Kind
from crishim.linux import mounts, paths, pod_paths
from crishim.spec.inputs import Draft, Inputs

# Files that lxcfs and the like mount over; runc's list.
_MAY_BE_COVERED: Final = frozenset(
    f"/proc/{name}"
    for name in (
        *("cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo"),
        *("sys/kernel/ns_last_pid", "sys/crypto/fips_enabled"),
    )
)
_OF_A_PROCESS = re.compile(r"/proc/(self|thread-self|[0-9]+)(/|$)")
_DEV_LINKS: Final = {"/dev/fd": "/proc/self/fd", "/dev/core": "/proc/kcore"}  # the runtime makes them in its /dev
_LINKS_MAX = 40  # as the kernel's own limit, path_resolution(7)
_PROC_ROOT_INODE = 1


class Tree:
    """The container's file system after the mounts so far: the node's directory by destination."""

    def __init__(self, rootfs: str) -> None:
        self._mounts = {"/": rootfs}  # by resolved destination; "" for a file system that is no bind mount

    def add(self, destination: str, source: str) -> None:
        self._mounts[destination] = source

    def resolve(self, path: str) -> str:
        """The path without symlinks and dots; what does not exist counts as directories.

        INVALID: too many links, or longer than the kernel takes a path.
        """
        paths.check_length(path)
        todo, done, links = path.split("/")[::-1], list[str](), 0
        while todo:
            part = todo.pop()
            if part == "..":
                del done[-1:]
            elif part not in ("", "."):
                target = self._link("/" + "/".join([*done, part]))
                if target is None:
                    done.append(part)
                    continue
                links += 1
                if links > _LINKS_MAX:
                    raise CrishimError(Kind.INVALID, f"{path} leads through too many symbolic links", path=path)
                if target.startswith("/"):
                    done.clear()
                todo += target.split("/")[::-1]
        return "/" + "/".join(done)

    def _link(self, path: str) -> str | None:
        """The target of the symlink at a path whose parents are no symlinks; None if it is none."""
        above = path
        while above not in self._mounts:
            above = posixpath.dirname(above)
        source = self._mounts[above]
        if above == path or not source:
            return _DEV_LINKS.get(path) if above == "/dev" else None
        pod_paths.looking_at(source)
        return paths.link_in_root(source, posixpath.relpath(path, above))


def check_proc_mounts(draft: Draft, inputs: Inputs) -> None:
    """Check the mounts, in the order they are made, and the working directory. INVALID names the mount."""
    tree = Tree(inputs.rootfs)
    for mount in draft.spec["mounts"]:
        destination = posixpath.normpath(mount["destination"])
        where = tree.resolve(destination)
        _check(mount, destination, where)
        tree.add(where, mount["source"] if mount["type"] == "bind" else "")
    directory = str(draft.spec["process"]["cwd"])
    if _OF_A_PROCESS.match(tree.resolve(directory)):
        # Descriptors the runtime has open while it changes there would lead out of the container (CVE-2024-21626).
        raise CrishimError(Kind.INVALID, f"the working directory {directory} is one of a process", path=directory)


def _check(mount: dict[str, Any], destination: str, where: str) -> None:
    problem = ""
    if mount["type"] in ("proc", "sysfs"):
        problem = "the image has a symbolic link there" if where != destination else ""
    elif where == "/proc":
        fits = mount["type"] == "bind" and _is_procfs(mount["source"])
        problem = "" if fits else "nothing but a procfs can be at /proc"
    elif where.startswith("/proc/") and where not in _MAY_BE_COVERED:
        problem = "nothing can be mounted inside /proc"
    if problem:
        said = destination if where == destination else f"{destination} (which is {where})"
        raise CrishimError(Kind.INVALID, f"mount {said}: {problem}", path=destination)


def _is_procfs(source: str) -> bool:
    """Whether a path of the node is the root of a procfs."""
    newest = next((p for p in reversed(mounts.table()) if p.target == source), None)
    return newest is not None and newest.fstype == "proc" and Path(source).stat().st_ino == _PROC_ROOT_INODE


def find_mount_over_proc(spec: Mapping[str, Any], table: Sequence[mounts.MountPoint]) -> str:
    """A mount at or in /proc that config.json does not have; "" if there is none. table: the container's mounts."""
    linux = spec["linux"]
    covered = _MAY_BE_COVERED | set(linux.get("maskedPaths", ()))
    read_only = set(linux.get("readonlyPaths", ()))
    if any(m["type"] == "bind" and posixpath.normpath(m["destination"]) == "/proc" for m in spec["mounts"]):
        return ""  # the node's own, with all that is mounted in it
    for point in table:
        if point.target == "/proc":
            fits = point.fstype == "proc" and point.root == "/"
        elif point.target.startswith("/proc/"):
            fits = point.target in covered or (point.target in read_only and point.fstype == "proc")
        else:
            continue
        if not fits:
            return f"{point.target} ({point.fstype})"
    return ""
