"""Histograms of the daemon's own durations, for the metrics endpoint: plain numbers, a microsecond an observation.

Observed from the event loop, read from the endpoint's thread. Label values come from the code or from root's files,
never from a client: their number is bounded.
"""

from bisect import bisect_left
from typing import NamedTuple


class HistogramValue(NamedTuple):
    """buckets: cumulative counts up to each bound, the last of all observations; seconds: their sum."""

    buckets: tuple[int, ...]
    seconds: float


class Histogram:
    """Durations by labels, as Prometheus has them."""

    def __init__(self, name: str, help: str, labels: tuple[str, ...], bounds: tuple[float, ...]) -> None:
        """bounds: upper bounds of the buckets, in seconds, ascending."""
        self.name = name
        self.help = help
        self.labels = labels
        self.bounds = bounds
        self._found: dict[tuple[str, ...], list[float]] = {}  # counts per bucket, and beyond; then the sum

    def start_at_zero(self, labels: tuple[str, ...]) -> None:
        """Show these labels before their first observation, so that rate() sees the first step."""
        self._found.setdefault(labels, [0] * (len(self.bounds) + 2))

    def observe(self, labels: tuple[str, ...], seconds: float) -> None:
        found = self._found.get(labels)
        if found is None:
            found = self._found.setdefault(labels, [0] * (len(self.bounds) + 2))
        found[bisect_left(self.bounds, seconds)] += 1
        found[-1] += seconds

    def seen(self) -> dict[tuple[str, ...], HistogramValue]:
        """The counts and sums so far, by label values."""
        result = {}
        for labels, found in list(self._found.items()):
            *counts, seconds = list(found)
            cumulative, total = [], 0
            for count in counts:
                total += int(count)
                cumulative.append(total)
            result[labels] = HistogramValue(tuple(cumulative), seconds)
        return result


_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_SLOW = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)

RPCS = Histogram(
    "crishim_rpc_duration_seconds", "Calls of the CRI and of crishim's own service.", ("rpc", "code"), _QUICK
)
PHASES = Histogram("crishim_phase_duration_seconds", "Phases of pods' and containers' lives.", ("phase",), _QUICK)
CNI = Histogram("crishim_cni_duration_seconds", "Runs of CNI plugins.", ("command", "plugin"), _QUICK)
PULLS = Histogram("crishim_image_pull_duration_seconds", "Pulls of images.", ("outcome",), _SLOW)
QUEUE = Histogram("crishim_queue_wait_seconds", "Waits for one of the turns of CNI plugins and runtimes.", (), _QUICK)
ALL = (RPCS, PHASES, CNI, PULLS, QUEUE)
