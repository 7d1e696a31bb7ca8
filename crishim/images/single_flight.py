"""Identical work under way at once is done once: later callers join the first.

The work belongs to all its callers together. One that is cancelled leaves without harm to the others; when the last
one leaves, the work is cancelled too, and a caller that comes then starts anew.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class _Call(Generic[T]):
    task: asyncio.Task[T]
    callers: int = 0


class SingleFlight(Generic[T]):
    """Joins callers by a key."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, _Call[T]] = {}
        self._leaving: set[asyncio.Task[T]] = set()

    async def join(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """The result of work(), which another caller with an equal key may have begun; or its error."""
        call = self._under_way.get(key)
        if call is None:
            call = self._under_way[key] = _Call(asyncio.create_task(_run(work)))
        call.callers += 1
        try:
            return await asyncio.shield(call.task)
        finally:
            call.callers -= 1
            if call.callers == 0:
                if self._under_way.get(key) is call:
                    del self._under_way[key]
                if not call.task.done():
                    call.task.cancel()
                    self._leaving.add(call.task)
                    call.task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[T]) -> None:
        self._leaving.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved: nobody waits for it any more

    async def settled(self) -> None:
        """Wait until the work of callers that left has ended."""
        while self._leaving:
            await asyncio.wait(set(self._leaving))


async def _run(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
