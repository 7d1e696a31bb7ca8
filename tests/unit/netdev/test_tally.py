"""Counters for the metrics endpoint."""

from crishim.netdev.tally import BOUNDS, Histogram, Tally


def test_each_device_counts_with_its_share() -> None:
    """Eight devices in 0.16 s are eight observations of 0.02 s; buckets are cumulative."""
    tally = Tally()
    assert tally.histogram("attach") == Histogram((0,) * len(BOUNDS), 0, 0.0)
    tally.observe("attach", 0.16, 8)
    tally.observe("attach", 9.0, 1)
    found = tally.histogram("attach")
    assert found.total == 9
    assert found.seconds == 9.16
    assert found.buckets[BOUNDS.index(0.01)] == 0
    assert found.buckets[BOUNDS.index(0.02)] == 8
    assert found.buckets[-1] == 8


def test_nothing_done_is_nothing_observed() -> None:
    """A return without devices leaves no mark."""
    tally = Tally()
    tally.observe("return", 1.0, 0)
    assert tally.histogram("return") == Histogram((0,) * len(BOUNDS), 0, 0.0)


def test_failures_by_operation_and_kind() -> None:
    """Each pair is a counter of its own."""
    tally = Tally()
    tally.fail("attach", "aborted")
    tally.fail("attach", "aborted")
    tally.fail("return", "lost")
    assert tally.failures() == {("attach", "aborted"): 2, ("return", "lost"): 1}
