"""Measures many groups at once, in one thread."""

from collections.abc import Mapping, Sequence

import msgspec

from crishim.linux import executors
from crishim.stats import network, processes
from crishim.stats.cgroups import Cgroups
from crishim.stats.measurements import Detail, Interface, Usage
from crishim.stats.processes import Processes
from crishim.stats.rates import Rates


class MeasuredGroup(msgspec.Struct, frozen=True):
    """A cgroup to be measured."""

    key: str  # the container's or pod's id
    cgroup: str
    since: int  # when its usage was 0, ns since the epoch
    count: bool = False  # whether its processes are counted, which walks the groups below it


class Reading(msgspec.Struct, frozen=True):
    """Measured values, by key; groups and namespaces that do not exist are left out."""

    usages: Mapping[str, Usage] = {}
    nano_cores: Mapping[str, int] = {}
    process_counts: Mapping[str, int] = {}
    interfaces: Mapping[str, list[Interface]] = {}


class DetailedReading(msgspec.Struct, frozen=True):
    """Values for the metrics, by key."""

    usages: Mapping[str, Usage]
    details: Mapping[str, Detail]
    processes: Mapping[str, Processes]
    interfaces: Mapping[str, list[Interface]]


class StatsProvider:
    """Reads cgroups and network namespaces, and keeps samples for rates."""

    def __init__(self, cgroups: Cgroups) -> None:
        self._cgroups = cgroups
        self._rates = Rates()

    async def read(self, groups: Sequence[MeasuredGroup], netns: Mapping[str, str] | None = None) -> Reading:
        """Usage of groups, and counters of network namespaces (handle by key)."""

        def work() -> Reading:
            usages = {g.key: u for g in groups if (u := self._cgroups.usage(g.cgroup)) is not None}
            counts = {g.key: len(self._cgroups.processes(g.cgroup)) for g in groups if g.count}
            return Reading(usages, {}, counts, network.counters(netns or {}))

        found = await executors.statistics(work)
        rates = {
            g.key: self._rates.nano_cores(g.key, u.taken_at, u.cpu, g.since)
            for g in groups
            if (u := found.usages.get(g.key)) is not None
        }
        return Reading(found.usages, rates, found.process_counts, found.interfaces)

    async def read_details(
        self, groups: Sequence[MeasuredGroup], netns: Mapping[str, str] | None = None
    ) -> DetailedReading:
        """All values of groups and of their processes."""

        def work() -> DetailedReading:
            usages = {g.key: u for g in groups if (u := self._cgroups.usage(g.cgroup)) is not None}
            details = {g.key: d for g in groups if (d := self._cgroups.detail(g.cgroup)) is not None}
            tasks = {g.key: processes.count(self._cgroups.processes(g.cgroup)) for g in groups if g.key in usages}
            return DetailedReading(usages, details, tasks, network.counters(netns or {}))

        return await executors.statistics(work)

    def forget(self, key: str) -> None:
        """Drop the samples of a container or pod that is gone."""
        self._rates.forget(key)
