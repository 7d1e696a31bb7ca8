"""Counters for the metrics endpoint."""

import pytest

from crishim.histograms import HistogramValue
from crishim.netdev.metrics import BOUNDS, Metrics

NOTHING = HistogramValue((0,) * (len(BOUNDS) + 1), 0.0)


def test_each_device_counts_with_its_share() -> None:
    """Eight devices in 0.16 s are eight observations of 0.02 s; buckets are cumulative."""
    metrics = Metrics()
    metrics.observe("attach", 0.16, 8)
    metrics.observe("attach", 9.0, 1)
    found = metrics.durations.seen()["attach",]
    assert found.seconds == pytest.approx(9.16)
    assert found.buckets == (0, *[8] * (len(BOUNDS) - 1), 9)


def test_nothing_done_is_nothing_observed() -> None:
    """A return without devices leaves no mark; both operations are there from the start."""
    metrics = Metrics()
    metrics.observe("return", 1.0, 0)
    assert metrics.durations.seen() == {("attach",): NOTHING, ("return",): NOTHING}


def test_failures_by_operation_and_kind() -> None:
    """Each pair is a counter of its own."""
    metrics = Metrics()
    metrics.fail("attach", "aborted")
    metrics.fail("attach", "aborted")
    metrics.fail("return", "lost")
    assert metrics.failures() == {("attach", "aborted"): 2, ("return", "lost"): 1}


def test_changes_by_condition() -> None:
    metrics = Metrics()
    metrics.change(["down", "renamed"])
    metrics.change(["back"])
    metrics.change(["down"])
    assert metrics.changes() == {"down": 2, "renamed": 1, "back": 1}
