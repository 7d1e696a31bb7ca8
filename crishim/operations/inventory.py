"""Find everything that crishim made on the node, with its owner, for `crishim cleanup`, and remove it.

Finding changes nothing. An owner is a pod's or container's id, 64 hex digits that are part of all its paths, arguments
and leases. A lease of an id that is found nowhere else may be another runtime's, as networks are shared: leases.py.
"""

import contextlib
import errno
import os
import re
import shutil
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from crishim.ids import is_id
from crishim.linux import cgroups, directories, mounts, process_trees, processes
from crishim.linux.netlink import links
from crishim.linux.netlink.rtnetlink import Rtnetlink
from crishim.operations import leases

_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_MARK = re.compile(r"crishim-[0-9a-f]{16}")  # the altname of a device that is attached
SCRATCH = ("exec", "secrets"), ("checkpoints", "downloads")  # below run_dir, below state_dir


class Item(NamedTuple):
    """One thing on the node. owner: id of its pod or container, "" if it has none."""

    kind: str
    name: str  # a path, a cgroup, "PID COMMAND", a link
    owner: str = ""


class Locations(NamedTuple):
    """The directories and cgroup to search."""

    state: Path
    run: Path
    cgroup_parent: str
    cni_config: Path


def take(places: Locations) -> list[Item]:
    """All items, in the order in which they can be removed. Blocks: walks directories, processes and cgroups."""
    found = [*_processes(places), *_containers(places), *_mounts(places), *_directories(places), *_marks()]
    ids = {thing.owner for thing in found} - {""} | _recorded(places)
    found += [*_cgroups(places, ids), *_leases(places, ids), *_scratch(places)]
    return sorted(found, key=lambda thing: _ORDER.index(thing.kind))


_ORDER = ("process", "OCI container", "lease", "mount", "cgroup", "directory", "device mark", "scratch")


def remove(thing: Item) -> None:
    """Remove one item, if it still exists; not a lease, which is its plugin's. Raises OSError."""
    if thing.kind == "process":
        process = processes.reference(int(thing.name.partition(" ")[0]))
        if process is not None:
            processes.send_signal(process, signal.SIGKILL)
    elif thing.kind == "mount":
        mounts.unmount(thing.name)
    elif thing.kind == "cgroup":
        cgroups.kill(thing.name)
        cgroups.remove(thing.name)
    elif thing.kind == "device mark":
        name, _, mark = thing.name.partition(" ")
        with Rtnetlink() as netlink:
            link = links.get(netlink, name)
            if link is not None and mark in link.altnames:
                links.remove_altname(netlink, link.index, mark)
    elif thing.kind != "lease":
        with contextlib.suppress(FileNotFoundError):
            if os.path.islink(thing.name) or not os.path.isdir(thing.name):  # noqa: PTH112, PTH114
                os.unlink(thing.name)  # noqa: PTH108
            elif inside := mounts.below(thing.name):  # never delete through a mount
                raise OSError(errno.EBUSY, f"{inside[0]} is mounted")
            else:
                shutil.rmtree(thing.name)


def alive(things: Iterable[Item]) -> set[str]:
    """Owners with a process or a namespace."""
    running = {t.owner for t in things if t.kind == "process" or (t.kind == "mount" and "/ns/" in t.name)}
    return running | {t.owner for t in things if t.kind == "cgroup" and cgroups.processes(t.name)}


def _owner(text: str) -> str:
    """The innermost id in a path; a container's cgroup lies below its pod's."""
    return next(reversed(_ID.findall(text)), "")


def _recorded(places: Locations) -> set[str]:
    return {
        p.stem for kind in ("pods", "containers") for p in directories.entries(places.state / kind) if is_id(p.stem)
    }


def _processes(places: Locations) -> Iterator[Item]:
    """conmons, runtimes, execs: processes outside of containers with a path below run_dir in their arguments."""
    mark = os.fsencode(places.run) + b"/"
    for pid, command in process_trees.command_lines().items():
        if pid == os.getpid() or not any(mark in word for word in command):
            continue
        with contextlib.suppress(OSError):
            if os.path.samefile(f"/proc/{pid}/ns/pid", "/proc/self/ns/pid"):  # noqa: PTH121
                text = b" ".join(command).decode(errors="replace")
                if owner := _owner(text):  # none: a person's `less` on a log there, say
                    yield Item("process", f"{pid} {text}", owner)


def _containers(places: Locations) -> Iterator[Item]:
    for state in directories.entries(places.run / "runtime"):
        for path in directories.entries(state):
            yield Item("OCI container", str(path), _owner(path.name))


def _mounts(places: Locations) -> Iterator[Item]:
    """Mounts of pods and containers; not the administrator's, such as a disk for the images."""
    for top in (places.run, places.state):
        for target in mounts.below(top):
            if owner := _owner(target.removeprefix(str(top))):
                yield Item("mount", target, owner)


def _directories(places: Locations) -> Iterator[Item]:
    tops = [places.run / name for name in ("containers", "pods", "roots")]
    for path in (path for top in (*tops, places.state / "writable") for path in directories.entries(top)):
        if is_id(path.name):
            yield Item("directory", str(path), path.name)


def _scratch(places: Locations) -> Iterator[Item]:
    for top, names in zip((places.run, places.state), SCRATCH, strict=True):
        for path in (path for name in names for path in directories.entries(top / name)):
            yield Item("scratch", str(path))
    for kind in ("pods", "containers", "netdev"):
        for path in directories.entries(places.state / kind):
            if path.name.endswith((".tmp", ".json.broken")):  # of a killed write, of versions before 0.2
                yield Item("scratch", str(path))


def _cgroups(places: Locations, ids: set[str]) -> Iterator[Item]:
    """Cgroups named by one of ids anywhere, or by any id below our own parent; inner ones first."""
    found = set()
    for top in cgroups.hierarchies().values():
        own = top / places.cgroup_parent.lstrip("/")
        for directory, _, _ in os.walk(top):
            name = Path(directory).name
            id = _owner(name)
            if id in ids or (id and Path(directory).is_relative_to(own)):
                found.add((f"/{Path(directory).relative_to(top)}", id))
    for path, id in sorted(found, reverse=True):
        yield Item("cgroup", path, id)


def _leases(places: Locations, ids: set[str]) -> Iterator[Item]:
    for path, holder in leases.held(places.cni_config):
        if holder in ids:
            yield Item("lease", str(path), holder)
    for path, holder in leases.stale(places.cni_config, ids):
        yield Item("lease", str(path), holder)


def _marks() -> Iterator[Item]:
    """Links on the host that carry the mark of an attachment."""
    with Rtnetlink() as netlink:
        for link in links.dump(netlink):
            for name in link.altnames:
                if _MARK.fullmatch(name):
                    yield Item("device mark", f"{link.name} {name}")


def unread_attachments(places: Locations, known: set[str]) -> list[Path]:
    """Files of the devices' journal, and their copies, of attachments that are not among the known."""
    tops = (places.state / "netdev", places.run / "netdev")
    paths = [path for top in tops for path in directories.entries(top)]
    return [path for path in paths if path.suffix == ".json" and path.stem not in known]
