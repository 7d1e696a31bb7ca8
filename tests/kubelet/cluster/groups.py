"""A container's cgroup, of either version."""

from pathlib import Path
from typing import NamedTuple

from crishim.linux import cgroups


class Usage(NamedTuple):
    cpu: float  # seconds
    memory: int  # bytes


class Limits(NamedTuple):
    cpu: int  # microseconds in 100 ms
    memory: int  # bytes


def _file(identity: str, name: str, above: int = 0) -> Path:
    """A control file of a container's cgroup, or of one above it."""
    found = [d for top in {*cgroups.hierarchies().values()} for d in top.rglob(f"*{identity}*")]
    return next(file for d in found if (file := [d, *d.parents][above] / name).exists())


def usage(identity: str) -> Usage:
    if cgroups.version() == 1:
        cpu = int(_file(identity, "cpuacct.usage").read_text()) / 1e9
        return Usage(cpu, int(_file(identity, "memory.usage_in_bytes").read_text()))
    cpu = int(_file(identity, "cpu.stat").read_text().split()[1]) / 1e6
    return Usage(cpu, int(_file(identity, "memory.current").read_text()))


def limits(identity: str, above: int = 0) -> Limits:
    """above: 1 for the pod's."""
    if cgroups.version() == 1:
        cpu = int(_file(identity, "cpu.cfs_quota_us", above).read_text())
        return Limits(cpu, int(_file(identity, "memory.limit_in_bytes", above).read_text()))
    cpu = int(_file(identity, "cpu.max", above).read_text().split()[0])
    return Limits(cpu, int(_file(identity, "memory.max", above).read_text()))
