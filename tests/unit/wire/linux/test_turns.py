"""Turns of heavy programs."""

import asyncio

import pytest

from crishim.wire.linux.turns import Turns


async def test_so_many_at_a_time_in_order() -> None:
    """No more than the width at once; the others follow in the order they came."""
    turns, running, started, most = Turns(2, longest=60), set[int](), list[int](), 0

    async def work(number: int) -> None:
        nonlocal most
        async with turns.turn():
            running.add(number)
            started.append(number)
            most = max(most, len(running))
            for _ in range(3):
                await asyncio.sleep(0)
            running.remove(number)

    await asyncio.gather(*(work(number) for number in range(7)))
    assert (started, most) == ([0, 1, 2, 3, 4, 5, 6], 2)


async def test_one_that_hangs_holds_nobody_up() -> None:
    """A turn that lasts too long is over for the others, and is given back once, not twice."""
    turns = Turns(1, longest=0.01)
    async with asyncio.timeout(10), turns.turn():
        async with turns.turn():
            pass
        async with turns.turn():
            pass
    patient = Turns(1, longest=60)
    async with patient.turn():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), patient.turn():
                pass


async def test_a_late_end_gives_no_second_turn() -> None:
    """Who ends after his time was up does not let two others in."""
    turns = Turns(1, longest=0.01)
    async with asyncio.timeout(10), turns.turn(), turns.turn():
        pass
    turns._longest = 60
    async with turns.turn():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), turns.turn():
                pass


async def test_a_failure_gives_the_turn_back() -> None:
    """An error, or a wait that is given up, costs no turn."""
    turns = Turns(1, longest=60)
    for _ in range(3):
        with pytest.raises(ValueError):
            async with turns.turn():
                raise ValueError
    async with turns.turn():
        waiting = asyncio.create_task(turns.turn().__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with asyncio.timeout(10), turns.turn():
        pass
