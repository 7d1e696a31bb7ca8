"""The starts of the last pods, kept in memory: `crishim trace` prints them, an exporter hears of every call."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from crishim.tracing import Call

MOST_PODS = 200
MOST_CALLS = 64  # of one pod, the first: its start, not each restart of a container for months
STARTS = frozenset({"RunPodSandbox", "PullImage", "CreateContainer", "StartContainer"})
TRACED = STARTS | {"StopContainer", "RemoveContainer", "StopPodSandbox", "RemovePodSandbox"}


class PodStart(NamedTuple):
    """pod: its id; name: NAMESPACE/NAME. The calls that made it and its containers, as they ended."""

    pod: str
    name: str
    calls: list[Call]


class Traces:
    """What there is of the last pods."""

    def __init__(self) -> None:
        self._starts: OrderedDict[str, PodStart] = OrderedDict()
        self.lost = 0  # calls that an exporter could not pass on
        self.export: Callable[[Call, str, str], None] | None = None  # a call, the id and name of its pod or ""

    def keep(self, call: Call, pod: str, name: str) -> None:
        """Take a call that has ended. name: of the pod, where the call tells it."""
        if pod and call.name in STARTS:
            start = self._starts.setdefault(pod, PodStart(pod, name, []))
            if len(start.calls) < MOST_CALLS:
                start.calls.append(call)
            while len(self._starts) > MOST_PODS:
                self._starts.popitem(last=False)
        if self.export is not None:
            self.export(call, pod, name)

    def find(self, wanted: str) -> PodStart | None:
        """The latest of the pods whose id begins with wanted, or that are called so, as NAME or NAMESPACE/NAME."""
        for start in reversed(self._starts.values()):
            if start.pod.startswith(wanted) or wanted in (start.name, start.name.partition("/")[2]):
                return start
        return None

    def __iter__(self) -> Iterator[PodStart]:
        return iter(list(self._starts.values()))
