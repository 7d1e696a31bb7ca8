"""Locks by id."""

import asyncio

import pytest

from crishim.state.locks import Locks


async def test_one_at_a_time() -> None:
    """Holders of one id follow each other in the order they came; ids are independent."""
    locks, order = Locks(), []

    async def hold(id: str, mark: int) -> None:
        async with locks.holding(id):
            order.append(mark)
            await asyncio.sleep(0)
            order.append(mark)

    await asyncio.gather(hold("a", 1), hold("a", 2), hold("a", 3))
    assert order == [1, 1, 2, 2, 3, 3]
    async with locks.holding("a"), locks.holding("b"):
        pass


async def test_nothing_is_kept() -> None:
    """A lock nobody holds or awaits is forgotten, also after an exception or a cancelled wait."""
    locks = Locks()
    with pytest.raises(ValueError):
        async with locks.holding("a"):
            raise ValueError
    async with locks.holding("a"):
        waiting = asyncio.create_task(_hold(locks))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert (locks._locks, locks._users) == ({}, {})


async def test_wanted() -> None:
    """A holder that has time goes on when somebody waits for it, whether they came before or after it asked."""
    locks = Locks()
    async with locks.holding("a"):
        await locks.wanted("a", 0.001)  # nobody comes
        before = asyncio.create_task(_take(locks))
        await asyncio.sleep(0)
        await locks.wanted("a", 3600)
    await before
    async with locks.holding("a"):
        after = asyncio.create_task(_take(locks))
        await locks.wanted("a", 3600)
    await after
    assert (locks._locks, locks._users, locks._wanted) == ({}, {}, {})


async def _take(locks: Locks) -> None:
    async with locks.holding("a"):
        pass


async def _hold(locks: Locks) -> None:
    async with locks.holding("a"):
        raise AssertionError("not reached")
