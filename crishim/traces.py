"""Traces: keeps the calls of recent pod starts in memory for `crishim trace`, and passes every call to the exporter."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from crishim.tracing import Call

MOST_PODS = 200
MOST_CALLS = 64  # of one pod, the first ones: its start, not later restarts of containers
STARTS = frozenset({"RunPodSandbox", "PullImage", "CreateContainer", "StartContainer"})
TRACED = STARTS | {"StopContainer", "RemoveContainer", "StopPodSandbox", "RemovePodSandbox"}


class PodStart(NamedTuple):
    """pod: its id; name: NAMESPACE/NAME; calls: those that made it and its containers, in the order they ended."""

    pod: str
    name: str
    calls: list[Call]


class Traces:
    """The starts of the last MOST_PODS pods."""

    def __init__(self) -> None:
        self._starts: OrderedDict[str, PodStart] = OrderedDict()
        self.lost = 0  # calls that the exporter could not send
        self.export: Callable[[Call, str, str], None] | None = None  # a call, the id and name of its pod or ""

    def keep(self, call: Call, pod: str, name: str) -> None:
        """Keep a call that has ended. pod, name: of its pod, "" if not known."""
        if pod and call.name in STARTS:
            start = self._starts.setdefault(pod, PodStart(pod, name, []))
            if len(start.calls) < MOST_CALLS:
                start.calls.append(call)
            while len(self._starts) > MOST_PODS:
                self._starts.popitem(last=False)
        if self.export is not None:
            self.export(call, pod, name)

    def find(self, wanted: str) -> PodStart | None:
        """The latest pod whose id begins with wanted, or whose NAME or NAMESPACE/NAME it is."""
        for start in reversed(self._starts.values()):
            if start.pod.startswith(wanted) or wanted in (start.name, start.name.partition("/")[2]):
                return start
        return None

    def __iter__(self) -> Iterator[PodStart]:
        return iter(list(self._starts.values()))
