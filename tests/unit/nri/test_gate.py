"""crishim/nri/gate.py"""

import asyncio
import contextlib
from contextlib import AbstractAsyncContextManager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crishim.nri.gate import Gate


class Guest:
    """Somebody inside the gate until told to leave."""

    def __init__(self, entrance: AbstractAsyncContextManager[None]) -> None:
        self.entered = asyncio.Event()
        self.leave = asyncio.Event()
        self.task = asyncio.create_task(self._stay(entrance))

    async def _stay(self, entrance: AbstractAsyncContextManager[None]) -> None:
        async with entrance:
            self.entered.set()
            await self.leave.wait()

    async def inside(self) -> bool:
        """After everybody had a turn."""
        await settled()
        return self.entered.is_set()

    async def go(self) -> None:
        self.leave.set()
        await self.task


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_verbs_are_inside_together() -> None:
    gate = Gate(60)
    guests = [Guest(gate.shared()) for _ in range(3)]
    assert [await g.inside() for g in guests] == [True] * 3
    for guest in guests:
        await guest.go()


async def test_one_who_is_alone_waits_for_verbs_and_holds_up_new_ones() -> None:
    gate = Gate(60)
    first = Guest(gate.shared())
    await first.entered.wait()
    alone = Guest(gate.exclusive())
    assert not await alone.inside()
    late = Guest(gate.shared())
    assert not await late.inside()
    await first.go()
    assert await alone.inside()
    assert not await late.inside()
    await alone.go()
    assert await late.inside()
    await late.go()


async def test_a_verb_may_enter_again_and_so_may_its_tasks() -> None:
    """Also while somebody waits to be alone; he is let in when the last of them has left."""
    gate = Gate(60)
    async with gate.shared():
        alone = Guest(gate.exclusive())
        assert not await alone.inside()
        async with gate.shared():
            child = Guest(gate.shared())
            assert await child.inside()
    assert not await alone.inside()
    await child.go()
    assert await alone.inside()
    await alone.go()


async def test_a_task_that_outlives_its_verb_enters_like_anybody() -> None:
    gate = Gate(60)
    goes = asyncio.Event()

    async def later() -> None:
        await goes.wait()
        async with gate.shared():
            pass

    async with gate.shared():
        task = asyncio.create_task(later())
    alone = Guest(gate.exclusive())
    assert await alone.inside()
    goes.set()
    await settled()
    assert not task.done()
    await alone.go()
    await task


async def test_a_verb_that_hangs_does_not_stop_the_others() -> None:
    """They go in when patience ends, and the one who wants to be alone is let in when it does end."""
    gate = Gate(0.01)
    hanging = Guest(gate.shared())
    await hanging.entered.wait()
    alone = Guest(gate.exclusive())
    for _ in range(3):
        async with asyncio.timeout(10), gate.shared():
            pass
    assert not alone.entered.is_set()
    await hanging.go()
    async with asyncio.timeout(10):
        await alone.entered.wait()
    await alone.go()


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("vaxc"), st.integers(0, 9)), max_size=25))
def test_nobody_is_inside_with_one_who_is_alone(steps: list[tuple[str, int]]) -> None:
    """Whoever comes, goes or is cancelled, in any order; and in the end everybody has been let in."""

    async def run() -> None:
        gate, guests = Gate(60), list[tuple[str, Guest]]()
        for step, number in steps:
            if step in "va":
                guests.append((step, Guest(gate.shared() if step == "v" else gate.exclusive())))
            elif guests:
                guest = guests[number % len(guests)][1]
                guest.leave.set() if step == "x" else guest.task.cancel()
            await asyncio.sleep(0) if number % 2 else await settled()
            here = [kind for kind, g in guests if g.entered.is_set() and not g.task.done()]
            assert "a" not in here or len([k for k, g in guests if g.entered.is_set() and not ended(g)]) == 1
        async with asyncio.timeout(10):
            for _, guest in guests:
                guest.leave.set()
            for _, guest in guests:
                with contextlib.suppress(asyncio.CancelledError):
                    await guest.task
        assert all(g.entered.is_set() or g.task.cancelled() for _, g in guests)

    asyncio.run(run())


def ended(guest: Guest) -> bool:
    return guest.task.done() or guest.leave.is_set() or bool(guest.task.cancelling())


async def test_cancelled_in_the_moment_of_being_let_in() -> None:
    """The place is given on."""
    gate = Gate(60)
    first = Guest(gate.exclusive())
    await first.entered.wait()
    second, third = Guest(gate.exclusive()), Guest(gate.exclusive())
    await settled()
    first.leave.set()
    await asyncio.sleep(0)  # first has left, second has been let in and does not know yet
    second.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second.task
    assert await third.inside()
    await third.go()
    await first.task
