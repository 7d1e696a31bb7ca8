"""A registered plugin: its subscriptions, calls to it, and its counters.

One call at a time: no runtime sends a plugin two at once, and plugins rely on that. Others queue, and have their whole
timeout from then on. But after a call without an answer the time in the queue counts, too, so that a plugin that hangs
costs each caller one timeout, however many there are.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import Message

from crishim.nri import events
from crishim.nri.connection import PluginConnection, Refused, TimedOut, TooLarge, Unanswered
from crishim.nri.events import Event
from crishim.nri.ttrpc import Code
from crishim.pb import nri_pb2 as nri

M = TypeVar("M", bound=Message)


@dataclass
class Counters:
    """Counters of one plugin since it registered. Seconds are of answered calls."""

    calls: dict[str, int] = field(default_factory=dict)  # by method
    refused: int = 0  # answered with an error
    unanswered: int = 0
    seconds: float = 0.0
    longest: float = 0.0

    def add(self, other: "Counters") -> None:
        """Add another's counts."""
        for method, calls in other.calls.items():
            self.calls[method] = self.calls.get(method, 0) + calls
        self.refused += other.refused
        self.unanswered += other.unanswered
        self.seconds += other.seconds
        self.longest = max(self.longest, other.longest)


@dataclass(frozen=True)
class PluginStatus:
    """What `crishim nri list` and the metrics show."""

    name: str
    index: str
    pid: int
    state: str  # "registering", "synchronizing", "ready"; "closed: why"
    launched: str  # path of its program, "" if it connected by itself
    events: tuple[str, ...]  # methods it is called for
    since: float  # seconds since the epoch
    counters: Counters

    @property
    def label(self) -> str:
        return f"{self.index}-{self.name}"


class Plugin:
    """The caller closes its connection."""

    def __init__(self, name: str, index: str, connection: PluginConnection, launched: str = "") -> None:
        self.name = name
        self.index = index
        self.label = f"{index}-{name}"
        self.connection = connection
        self.launched = launched
        self.state = "registering"
        self.policy = nri.FailurePolicy()
        self.counters = Counters()
        self.since = time.time()
        self._events = 0
        self._state_changes: set[int] = set()  # events it gets as StateChange
        self._lock = asyncio.Lock()
        self._hanging = False  # the last call got no answer

    def subscribe(self, mask: int, policy: nri.FailurePolicy) -> None:
        """Set the subscription of the answer to Configure; an empty mask means all events."""
        self._events = mask or events.ALL
        self.policy = policy

    def wants(self, event: Event) -> bool:
        return bool(self._events & event.bit) and not self.connection.closed.done()

    def status(self) -> PluginStatus:
        state = f"closed: it {self.connection.reason}" if self.connection.closed.done() else self.state
        methods = tuple(event.method for event in events.EVENTS if self._events & event.bit)
        connection = self.connection
        return PluginStatus(
            self.name, self.index, connection.pid, state, self.launched, methods, self.since, self.counters
        )

    async def tell(self, event: Event, request: Any, timeout: float) -> Any:
        """Send an event, in the form the plugin supports; returns its answer. Raises as PluginConnection.call()."""
        if event.number not in self._state_changes:
            try:
                return await self.call(event.method, request, event.answer, timeout)
            except Refused as error:
                if error.code != Code.UNIMPLEMENTED or not event.state_change:
                    raise
            self._state_changes.add(event.number)
        await self.call("StateChange", events.state_change(event, request), nri.Empty, timeout)
        return event.answer()

    async def call(self, method: str, request: Message, answer: type[M], timeout: float) -> M:
        """Queue a call; timeout: seconds from when it is sent. Raises as PluginConnection.call()."""
        queued_at = time.monotonic()
        async with self._lock:
            waited = time.monotonic() - queued_at
            if self._hanging and waited >= timeout:
                self.counters.unanswered += 1
                raise TimedOut(f"did not answer earlier calls within {timeout:g} s")
            return await self.call_now(method, request, answer, timeout - waited if self._hanging else timeout)

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Keep other calls out; the holder uses call_now()."""
        async with self._lock:
            yield

    async def call_now(self, method: str, request: Message, answer: type[M], timeout: float) -> M:
        began = time.monotonic()
        self.counters.calls[method] = self.counters.calls.get(method, 0) + 1
        try:
            result = await self.connection.call(method, request, answer, timeout)
        except TooLarge:  # nothing was sent
            self.counters.calls[method] -= 1
            raise
        except Unanswered as error:
            self._hanging = isinstance(error, TimedOut)
            self.counters.unanswered += 1
            raise
        except Refused as error:
            self.counters.refused += error.code != Code.UNIMPLEMENTED
            self._answered(began)
            raise
        self._answered(began)
        return result

    def _answered(self, began: float) -> None:
        self._hanging = False
        seconds = time.monotonic() - began
        self.counters.seconds += seconds
        self.counters.longest = max(self.counters.longest, seconds)
