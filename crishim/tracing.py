"""Measure the duration of calls and of named spans in them. Each is observed in a histogram, kept with its call
(traces.py), and logged at debug level with the ids of its call.
"""

import contextvars
import itertools
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import NamedTuple, ParamSpec, TypeVar

from crishim.histograms import PHASES, RPCS, Histogram

T = TypeVar("T")
P = ParamSpec("P")

MOST_SPANS = 64  # of one call
SAMPLED = 1  # of trace-flags (W3C Trace Context, section 3.2.2.5)
# Section 3.2: version, trace-id, parent-id, trace-flags; a later version may have more.
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_ids = itertools.count(random.SystemRandom().getrandbits(62))

log = logging.getLogger("crishim.trace")


class Parent(NamedTuple):
    """The client's span that a call belongs to."""

    trace_id: int
    span_id: int
    sampled: bool


class Span(NamedTuple):
    """A step of a call; times in ns since the epoch. parent: the id of the enclosing span."""

    name: str
    id: int
    parent: int
    began: int
    ended: int


class Call:
    """One call of an RPC: `with Call(name) as call:`. code: name of its gRPC status code."""

    __slots__ = ("_since", "_token", "began", "code", "ended", "id", "name", "parent", "spans", "trace_id")

    def __init__(self, name: str, parent: Parent | None = None) -> None:
        self.name = name
        self.parent = parent
        self.trace_id = parent.trace_id if parent else random.getrandbits(128) or 1
        self.id = next(_ids)
        self.began = time.time_ns()
        self.ended = 0
        self.code = "OK"
        self.spans: list[Span] = []
        self._since = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self._since

    def __enter__(self) -> "Call":
        self._token = _CURRENT.set((self, self.id))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _CURRENT.reset(self._token)
        if kind is not None and self.code == "OK":
            self.code = "CANCELLED"
        seconds = self.seconds
        self.ended = self.began + int(seconds * 1e9)
        RPCS.observe((self.name, self.code), seconds)

    def at(self, since: float) -> int:
        """Convert a time.perf_counter() value to ns since the epoch."""
        return self.began + int((since - self._since) * 1e9)


_CURRENT: contextvars.ContextVar[tuple[Call, int] | None] = contextvars.ContextVar("call", default=None)


class span:  # lower case: used as a statement; half the cost of contextlib's
    """Measures the enclosed step. seen: the histogram; labels: its label values, by default the step's name."""

    __slots__ = ("_id", "_inside", "_labels", "_seen", "_since", "_step", "_token")

    def __init__(self, step: str, seen: Histogram = PHASES, labels: tuple[str, ...] = ()) -> None:
        self._step = step
        self._seen = seen
        self._labels = labels or (step,)

    def __enter__(self) -> None:
        self._inside = _CURRENT.get()
        self._id = next(_ids)
        self._token = _CURRENT.set((self._inside[0], self._id)) if self._inside else None
        self._since = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        seconds = time.perf_counter() - self._since
        if self._token is not None:
            _CURRENT.reset(self._token)
        self._seen.observe(self._labels, seconds)
        if self._inside:
            _keep(self._inside, self._step, self._id, self._since, seconds)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("step", extra={"step": self._step, "ms": round(seconds * 1000, 2)})


async def timed(step: str, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """`await function(*args)` in a span. The function is called inside it: a task that is cancelled before its first
    step has started nothing."""
    with span(step):
        return await function(*args, **kwargs)


def waited(step: str, since: float) -> None:
    """Keep a span that ends now. since: its start, of time.perf_counter()."""
    if inside := _CURRENT.get():
        _keep(inside, step, next(_ids), since, time.perf_counter() - since)


def parse_parent(traceparent: str) -> Parent | None:
    """Parse a traceparent header; None if it is invalid. Of a later version the known fields are read."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or (found[1] == "00" and found[5]):
        return None
    return Parent(int(found[2], 16), int(found[3], 16), bool(int(found[4], 16) & SAMPLED))


def _keep(inside: tuple[Call, int], step: str, id: int, since: float, seconds: float) -> None:
    """Keep a span with its call, unless that has ended: background work after it is not in its trace."""
    call, parent = inside
    if not call.ended and len(call.spans) < MOST_SPANS:
        began = call.at(since)
        call.spans.append(Span(step, id, parent, began, began + int(seconds * 1e9)))
