"""Counts the OOM kills in a cgroup.

cgroup-v2.rst, memory.events: of the group and all below it, removed ones included; memory.rst (v1),
memory.oom_control: of the group.
"""

from pathlib import Path

from crishim.linux import cgroups

_FILES = ("memory.events", "memory.oom_control")
_KEY = "oom_kill"


def count(cgroup: str) -> int | None:
    """OOM kills so far; None if the group is gone, or its memory is not accounted for. Blocks."""
    for directory in cgroups.directories(cgroup):
        for name in _FILES:
            found = _read(directory / name)
            if found is not None:
                return found
    return None


def _read(path: Path) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    fields = dict(line.split(" ", 1) for line in lines if " " in line)
    return int(fields[_KEY]) if fields.get(_KEY, "").isdecimal() else None
