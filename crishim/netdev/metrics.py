"""Counts for the metrics endpoint: how long attaching and returning takes, how often it fails, and what happens to
devices in their pods. Plain numbers."""

import threading
from collections import Counter
from collections.abc import Iterable

from crishim.histograms import Histogram

BOUNDS = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds; a move takes 0.015 to 0.02


class Metrics:
    """Counters of one daemon's life. Counted from several threads; durations are observed from the event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.durations = Histogram(
            "crishim_netdevice_duration_seconds", "To attach or return one network device.", ("operation",), BOUNDS
        )
        self.durations.start_at_zero(("attach",))
        self.durations.start_at_zero(("return",))
        self._failures: Counter[tuple[str, str]] = Counter()
        self._changes: Counter[str] = Counter()

    def observe(self, operation: str, seconds: float, devices: int) -> None:
        """operation: "attach" or "return"; each of the devices counts once, with its share of the time."""
        for _ in range(devices):
            self.durations.observe((operation,), seconds / devices)

    def fail(self, operation: str, kind: str) -> None:
        """kind: of the error; "lost" for a device that was not found again."""
        with self._lock:
            self._failures[operation, kind] += 1

    def change(self, conditions: Iterable[str]) -> None:
        """conditions: new ones of a device in its pod (presence.py), or "back" when it is as attached again."""
        with self._lock:
            self._changes.update(conditions)

    def changes(self) -> dict[str, int]:
        """condition -> how often."""
        with self._lock:
            return dict(self._changes)

    def failures(self) -> dict[tuple[str, str], int]:
        """(operation, kind) -> how often."""
        with self._lock:
            return dict(self._failures)
