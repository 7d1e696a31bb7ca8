"""Identical work done once."""

import asyncio

import pytest

from crishim.images.single_flight import SingleFlight


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
    single_flight: SingleFlight[int] = SingleFlight()
    work = Work()
    callers = [asyncio.create_task(single_flight.join("a", work)) for _ in range(10)]
    other = asyncio.create_task(single_flight.join("b", work))
    await settle()
    work.go.set()
    assert await asyncio.gather(*callers) == [1] * 10
    assert await other == 2
    assert await single_flight.join("a", work) == 3


async def test_cancelled_caller_leaves_the_others() -> None:
    """The caller that began the work may leave; the others still get the result."""
    single_flight: SingleFlight[int] = SingleFlight()
    work = Work()
    first, second = (asyncio.create_task(single_flight.join("a", work)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    work.go.set()
    assert await second == 1
    assert first.cancelled()
    assert work.cancelled == 0


async def test_last_caller_ends_the_work() -> None:
    """When the last caller leaves, the work is cancelled, and a new caller starts its own at once."""
    single_flight: SingleFlight[int] = SingleFlight()
    work = Work()
    callers = [asyncio.create_task(single_flight.join("a", work)) for _ in range(2)]
    await settle()
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    again = asyncio.create_task(single_flight.join("a", work))
    await single_flight.settled()
    assert work.cancelled == 1
    work.go.set()
    assert await again == 2


async def test_failure_reaches_everybody() -> None:
    """An error is every caller's; nothing is left of it for later callers."""
    single_flight: SingleFlight[int] = SingleFlight()

    async def fail() -> int:
        await asyncio.sleep(0)
        raise ValueError("no")

    results = await asyncio.gather(*(single_flight.join("a", fail) for _ in range(3)), return_exceptions=True)
    assert [str(r) for r in results] == ["no"] * 3
    work = Work()
    work.go.set()
    assert await single_flight.join("a", work) == 1


async def test_late_failure_of_abandoned_work_is_silent() -> None:
    """Work that fails while it is cancelled troubles nobody (an unretrieved exception would be a warning)."""
    single_flight: SingleFlight[int] = SingleFlight()

    async def stubborn() -> int:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("while leaving")

    caller = asyncio.create_task(single_flight.join("a", stubborn))
    await settle()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await single_flight.settled()
