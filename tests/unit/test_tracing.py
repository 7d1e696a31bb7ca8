"""Calls, their spans, and the pods whose start is kept."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.histograms import PHASES, RPCS
from crishim.traces import MOST_CALLS, MOST_PODS, Traces
from crishim.tracing import MOST_SPANS, Call, Parent, parse_parent, span, timed, waited

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


async def test_spans_are_in_one_another() -> None:
    """Also where tasks run side by side; a span outside of any call is measured, and in none."""
    with Call("A") as call:
        with span("outer"):
            await asyncio.gather(timed("left", asyncio.sleep, 0), timed("right", asyncio.sleep, 0))
        with span("after"):
            pass
    with span("outside"):
        pass
    by_name = {s.name: s for s in call.spans}
    outer = by_name["outer"]
    assert {s.name: s.parent for s in call.spans} == {
        "left": outer.id,
        "right": outer.id,
        "outer": call.id,
        "after": call.id,
    }
    assert call.began <= outer.began <= by_name["left"].began <= by_name["left"].ended <= outer.ended <= call.ended
    assert ("outside",) in PHASES.seen()


async def test_what_goes_on_after_a_call_is_not_in_it() -> None:
    """A task that outlives its call leaves the call as it was told."""
    go = asyncio.Event()
    with Call("A") as call:
        task = asyncio.create_task(timed("late", go.wait))
        await asyncio.sleep(0)
    go.set()
    await task
    assert call.spans == []


def test_a_call_is_measured_with_its_code() -> None:
    for code, error in (("OK", None), ("INTERNAL", ValueError()), ("CANCELLED", asyncio.CancelledError())):
        before = RPCS.seen().get(("B", code))
        call = Call("B")
        try:
            with call:
                call.code = "INTERNAL" if code == "INTERNAL" else "OK"
                if error:
                    raise error
        except (ValueError, asyncio.CancelledError):
            pass
        assert RPCS.seen()["B", code].buckets[-1] == (before.buckets[-1] if before else 0) + 1


def test_spans_of_a_call_are_bounded() -> None:
    with Call("A") as call:
        for _ in range(MOST_SPANS + 5):
            waited("x", 0.0)
    assert len(call.spans) == MOST_SPANS


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"00-{TRACE}-{SPAN}-01", Parent(int(TRACE, 16), int(SPAN, 16), True)),
        (f"00-{TRACE}-{SPAN}-02", Parent(int(TRACE, 16), int(SPAN, 16), False)),
        (f"cc-{TRACE}-{SPAN}-01-what-comes", Parent(int(TRACE, 16), int(SPAN, 16), True)),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        ("", None),
    ],
)
def test_traceparent(header: str, found: Parent | None) -> None:
    """W3C Trace Context, section 3.2."""
    assert parse_parent(header) == found


@given(st.text(max_size=80))
def test_any_traceparent(header: str) -> None:
    """A client's text is a parent or none."""
    parent = parse_parent(header)
    assert parent is None or (parent.trace_id > 0 and parent.span_id > 0)


def test_kept_starts_are_bounded() -> None:
    """The last pods, the first calls of each; what starts no pod is not kept."""
    traces = Traces()
    for number in range(MOST_PODS + 3):
        traces.keep(Call("RunPodSandbox"), f"{number:03}a", f"ns/p{number}")
    assert [start.pod for start in traces][:2] == ["003a", "004a"]
    assert len(list(traces)) == MOST_PODS
    for _ in range(MOST_CALLS + 3):
        traces.keep(Call("StartContainer"), "100a", "")
    traces.keep(Call("StopPodSandbox"), "101a", "")
    found = traces.find("100")
    assert found is not None
    assert (len(found.calls), found.calls[0].name, found.name) == (MOST_CALLS, "RunPodSandbox", "ns/p100")
    assert [len(start.calls) for start in traces if start.pod == "101a"] == [1]


def test_a_start_is_found_by_name() -> None:
    """The latest of those that are called so: a pod that was made anew."""
    traces = Traces()
    for pod in ("a1", "b2"):
        traces.keep(Call("RunPodSandbox"), pod, "ns/p")
    assert [getattr(traces.find(wanted), "pod", None) for wanted in ("p", "ns/p", "a", "x")] == ["b2", "b2", "a1", None]
