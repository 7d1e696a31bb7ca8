"""Histograms: counts as Prometheus wants them."""

from hypothesis import given
from hypothesis import strategies as st

from crishim.histograms import Histogram


@given(st.lists(st.floats(0, 100)))
def test_buckets_are_cumulative(durations: list[float]) -> None:
    """Each bucket counts what took no longer than its bound; the last counts all."""
    histogram = Histogram("x", "", ("label",), (0.5, 1.0, 10.0))
    for seconds in durations:
        histogram.observe(("a",), seconds)
    seen = histogram.seen()
    if not durations:
        assert seen == {}
        return
    counts = [sum(d <= bound for d in durations) for bound in (0.5, 1.0, 10.0, float("inf"))]
    assert list(seen["a",].buckets) == counts
    assert seen["a",].seconds == sum(durations)


def test_labels_are_apart() -> None:
    histogram = Histogram("x", "", ("label",), (1.0,))
    histogram.observe(("a",), 1.0)
    histogram.observe(("b",), 2.0)
    assert {labels: seen.buckets for labels, seen in histogram.seen().items()} == {("a",): (1, 1), ("b",): (0, 1)}
