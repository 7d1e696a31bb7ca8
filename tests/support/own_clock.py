"""An event loop with a clock of its own: nothing that waits for time takes any.

When nothing is ready, the clock goes on to the next timer. So ten minutes of a process that will not die pass at once,
and in the same order each time. Everything but time must be there at once, so nothing else may be waited for: threads
and programs are not there (tests/support/world.py), and a wait for what never comes is an error that says so.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stuck(AssertionError):
    """Nothing is ready, and no timer is set: what is waited for does not come."""


class _Selector(selectors.DefaultSelector):
    """Tells what is ready, and waits for nothing: that the loop wants to is told by `skip`."""

    def __init__(self) -> None:
        super().__init__()
        self.skip = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise Stuck("nothing is ready, and no timer is set")
            self.skip += max(timeout, 0)
        return ready


class OwnClock(asyncio.SelectorEventLoop):
    """time() begins at 1,000 seconds."""

    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)
        # A timer is due a little before its time (BaseEventLoop._clock_resolution): floating point may miss it.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return 1000.0 + self._clock.skip


def simulate(work: Coroutine[Any, Any, T]) -> T:
    """Run work to its end by such a clock."""
    with asyncio.Runner(loop_factory=OwnClock) as runner:
        return runner.run(work)
