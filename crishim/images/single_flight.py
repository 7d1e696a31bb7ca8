"""SingleFlight: concurrent calls with the same key run the work once; later callers join the first.

A cancelled caller does not affect the others; when the last one is cancelled, the work is cancelled too, and the next
caller starts it again.
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
    """Runs work once for all concurrent callers of a key."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, _Call[T]] = {}
        self._leaving: set[asyncio.Task[T]] = set()

    async def join(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """The result or error of work(), which another caller with an equal key may have started."""
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
            task.exception()  # retrieved: it has no caller any more

    async def settled(self) -> None:
        """Wait until all cancelled work has ended."""
        while self._leaving:
            await asyncio.wait(set(self._leaving))


async def _run(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
