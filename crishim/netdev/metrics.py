"""Counts for the metrics endpoint: how long attaching and returning takes, how often it fails, and what happens to
devices in their pods. Plain numbers."""

import threading
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

BOUNDS = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds; a move takes 0.015 to 0.02


class Histogram(NamedTuple):
    """buckets: observations up to each of BOUNDS, cumulative; total: of all; seconds: their sum."""

    buckets: tuple[int, ...]
    total: int
    seconds: float


class Metrics:
    """Counters of one daemon's life. Safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._observed: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}
        self._failures: Counter[tuple[str, str]] = Counter()
        self._changes: Counter[str] = Counter()

    def observe(self, operation: str, seconds: float, devices: int) -> None:
        """operation: "attach" or "return"; each of the devices counts once, with its share of the time."""
        share = seconds / devices if devices else 0.0
        with self._lock:
            slots = self._observed.setdefault(operation, [0] * (len(BOUNDS) + 1))
            slots[next((i for i, bound in enumerate(BOUNDS) if share <= bound), len(BOUNDS))] += devices
            self._sums[operation] = self._sums.get(operation, 0.0) + share * devices

    def fail(self, operation: str, kind: str) -> None:
        """kind: of the error; "lost" for a device that was not found again."""
        with self._lock:
            self._failures[operation, kind] += 1

    def change(self, conditions: Iterable[str]) -> None:
        """conditions: what has come upon a device in its pod (presence.py), or "back": all of that has gone."""
        with self._lock:
            self._changes.update(conditions)

    def changes(self) -> dict[str, int]:
        """condition -> how often."""
        with self._lock:
            return dict(self._changes)

    def histogram(self, operation: str) -> Histogram:
        with self._lock:
            slots = self._observed.get(operation, [0] * (len(BOUNDS) + 1))
            buckets, so_far = [], 0
            for number in slots[:-1]:
                so_far += number
                buckets.append(so_far)
            return Histogram(tuple(buckets), sum(slots), self._sums.get(operation, 0.0))

    def failures(self) -> dict[tuple[str, str], int]:
        """(operation, kind) -> how often."""
        with self._lock:
            return dict(self._failures)
