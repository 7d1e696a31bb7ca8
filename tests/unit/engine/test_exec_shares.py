"""crishim/engine/exec_shares.py: who may run a command, and how much of its output is kept."""

import asyncio
import contextlib

import pytest

from crishim.engine import exec_shares
from crishim.engine.exec_shares import Shares
from crishim.errors import CrishimError, Kind


async def test_one_container_leaves_places_to_the_others() -> None:
    """It waits at its own part; another container's command runs at once."""
    shares = Shares(places=8, of_one=2)
    async with shares.place("a" * 64, 0), shares.place("a" * 64, 0):
        with pytest.raises(CrishimError, match=r"container a{13} runs 2 commands already: .* within 0\.01 s") as error:
            async with shares.place("a" * 64, 0.01):
                pass
        assert error.value.kind is Kind.EXHAUSTED
        async with shares.place("b" * 64, 0.01):
            pass
    async with shares.place("a" * 64, 0.01):
        pass


async def test_all_places_taken() -> None:
    """The error says that it is the others."""
    shares = Shares(places=4, of_one=9)
    assert shares.of_one == 1
    async with contextlib.AsyncExitStack() as held:
        for name in "abcd":
            await held.enter_async_context(shares.place(name * 64, 0))
        with pytest.raises(CrishimError, match=r"container e{13} and others run 4 commands already"):
            async with shares.place("e" * 64, 0.01):
                pass


async def test_who_waits_comes_in_order() -> None:
    """First come, first served, also after one of those that wait was cancelled."""
    shares = Shares(places=8, of_one=1)
    order: list[int] = []

    async def command(number: int) -> None:
        async with shares.place("a", 0):
            order.append(number)
            await asyncio.sleep(0)

    async with shares.place("a", 0):
        tasks = [asyncio.create_task(command(n)) for n in range(5)]
        await asyncio.sleep(0)
        tasks[1].cancel()
    await asyncio.wait(tasks)
    assert order == [0, 2, 3, 4]


async def test_no_more_wait_than_may() -> None:
    """What comes beyond is refused at once; nothing is kept of a container without calls."""
    shares = Shares(places=8, of_one=1, waiting=2)
    async with shares.place("a", 0):
        waiting = [asyncio.create_task(shares.place("a", 60).__aenter__()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(CrishimError, match="runs 1 commands already, and 2 wait"):
            async with shares.place("a", 60):
                pass
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
    assert not shares._containers


async def test_output_is_kept_up_to_the_container_s_part_and_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all its commands together; given back with the place."""
    monkeypatch.setattr(exec_shares, "OUTPUT", 100)
    monkeypatch.setattr(exec_shares, "OUTPUT_OF_ONE", 70)
    shares = Shares(places=8)
    async with shares.place("a", 0) as one, shares.place("a", 0) as two, shares.place("b", 0) as other:
        assert [one.keep(50), two.keep(50), two.keep(1), other.keep(50), other.keep(0)] == [50, 20, 0, 30, 0]
        assert shares.kept == 100
    assert shares.kept == 0
    async with shares.place("a", 0) as one:
        assert one.keep(99) == 70
