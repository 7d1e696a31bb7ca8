"""oom_score_adj of a whole cgroup: of every process now in it, forked ones included. proc_pid_oom_score_adj(5).

Before a process is written to, its directory in /proc is opened and its cgroup checked, so that a pid that was reused
is not written to.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping

from crishim.linux import cgroups

_ROUNDS = 20  # a process that forks while we write leaves a child with the old value for the next round


def read(cgroup: str) -> dict[int, int]:
    """oom_score_adj by pid. Blocks."""
    found = {}
    for pid, directory in _members(cgroup):
        with contextlib.suppress(OSError):
            found[pid] = int(_read(directory, "oom_score_adj"))
    return found


def write(cgroup: str, score: int) -> None:
    """Set the value of every process of the group. OSError (EACCES) if one may not have it. Blocks."""
    for _ in range(_ROUNDS):
        other = {pid for pid, value in read(cgroup).items() if value != score}
        if not other:
            return
        _assign(cgroup, dict.fromkeys(other, score))


def restore(cgroup: str, saved: Mapping[int, int]) -> None:
    """Restore the processes' old values; processes that are new get the most frequent one. Blocks."""
    if saved:
        usual = max(set(saved.values()), key=list(saved.values()).count)
        _assign(cgroup, {pid: saved.get(pid, usual) for pid in cgroups.processes(cgroup)})


def _assign(cgroup: str, scores: Mapping[int, int]) -> None:
    for pid, directory in _members(cgroup):
        if pid in scores:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                fd = os.open("oom_score_adj", os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
                try:
                    os.write(fd, str(scores[pid]).encode())
                finally:
                    os.close(fd)


def _members(cgroup: str) -> Iterator[tuple[int, int]]:
    """(pid, descriptor of its directory in /proc) of the processes that are in the group at this moment."""
    wanted = "/" + cgroup.strip("/")
    for pid in sorted(cgroups.processes(cgroup)):
        try:
            directory = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            with contextlib.suppress(OSError):
                groups = {line.split(":", 2)[2] for line in _read(directory, "cgroup").splitlines()}
                if any(g == wanted or g.startswith(wanted + "/") for g in groups):
                    yield pid, directory
        finally:
            os.close(directory)


def _read(directory: int, name: str) -> str:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.read(fd, 65536).decode()
    finally:
        os.close(fd)
