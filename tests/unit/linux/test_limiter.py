"""Limiter of heavy programs."""

import asyncio

import pytest

from crishim.linux.limiter import Limiter


async def test_so_many_at_a_time_in_order() -> None:
    """No more than the width at once; the others follow in the order they came."""
    limiter, running, started, most = Limiter(2, longest=60), set[int](), list[int](), 0

    async def work(number: int) -> None:
        nonlocal most
        async with limiter.slot():
            running.add(number)
            started.append(number)
            most = max(most, len(running))
            for _ in range(3):
                await asyncio.sleep(0)
            running.remove(number)

    await asyncio.gather(*(work(number) for number in range(7)))
    assert (started, most) == ([0, 1, 2, 3, 4, 5, 6], 2)


async def test_one_that_hangs_holds_nobody_up() -> None:
    """A slot that is held too long is over for the others, and is given back once, not twice."""
    limiter = Limiter(1, longest=0.01)
    async with asyncio.timeout(10), limiter.slot():
        async with limiter.slot():
            pass
        async with limiter.slot():
            pass
    patient = Limiter(1, longest=60)
    async with patient.slot():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), patient.slot():
                pass


async def test_a_late_end_gives_no_second_slot() -> None:
    """Who ends after his time was up does not let two others in."""
    limiter = Limiter(1, longest=0.01)
    async with asyncio.timeout(10), limiter.slot(), limiter.slot():
        pass
    limiter._longest = 60
    async with limiter.slot():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), limiter.slot():
                pass


async def test_a_failure_gives_the_slot_back() -> None:
    """An error, or a wait that is given up, costs no slot."""
    limiter = Limiter(1, longest=60)
    for _ in range(3):
        with pytest.raises(ValueError):
            async with limiter.slot():
                raise ValueError
    async with limiter.slot():
        waiting = asyncio.create_task(limiter.slot().__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with asyncio.timeout(10), limiter.slot():
        pass
