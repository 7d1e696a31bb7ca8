"""Identical work done once."""

import asyncio

import pytest

from crishim.images.flights import Flights


class Work:
    """Counts its starts and waits to be let go."""

    def __init__(self) -> None:
        self.starts = 0
        self.cancelled = 0
        self.go = asyncio.Event()

    async def __call__(self) -> int:
        self.starts += 1
        number = self.starts
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return number


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_start_for_many_callers() -> None:
    """Ten callers with one key get the result of one start; another key has its own; afterwards it starts anew."""
    flights: Flights[int] = Flights()
    work = Work()
    callers = [asyncio.create_task(flights.join("a", work)) for _ in range(10)]
    other = asyncio.create_task(flights.join("b", work))
    await settle()
    work.go.set()
    assert await asyncio.gather(*callers) == [1] * 10
    assert await other == 2
    assert await flights.join("a", work) == 3


async def test_cancelled_caller_leaves_the_others() -> None:
    """The caller that began the work may leave; the others still get the result."""
    flights: Flights[int] = Flights()
    work = Work()
    first, second = (asyncio.create_task(flights.join("a", work)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    work.go.set()
    assert await second == 1
    assert first.cancelled()
    assert work.cancelled == 0


async def test_last_caller_ends_the_work() -> None:
    """When the last caller leaves, the work is cancelled, and a new caller starts its own at once."""
    flights: Flights[int] = Flights()
    work = Work()
    callers = [asyncio.create_task(flights.join("a", work)) for _ in range(2)]
    await settle()
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    again = asyncio.create_task(flights.join("a", work))
    await flights.settled()
    assert work.cancelled == 1
    work.go.set()
    assert await again == 2


async def test_failure_reaches_everybody() -> None:
    """An error is every caller's; nothing is left of it for later callers."""
    flights: Flights[int] = Flights()

    async def fail() -> int:
        await asyncio.sleep(0)
        raise ValueError("no")

    results = await asyncio.gather(*(flights.join("a", fail) for _ in range(3)), return_exceptions=True)
    assert [str(r) for r in results] == ["no"] * 3
    work = Work()
    work.go.set()
    assert await flights.join("a", work) == 1


async def test_late_failure_of_abandoned_work_is_silent() -> None:
    """Work that fails while it is cancelled troubles nobody (an unretrieved exception would be a warning)."""
    flights: Flights[int] = Flights()

    async def stubborn() -> int:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("while leaving")
        return 0

    caller = asyncio.create_task(flights.join("a", stubborn))
    await settle()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await flights.settled()
