"""The memory of ended sessions, given back soon after their end. A thousand leave 31 MB without it, 4 to 8 with it.

What keeps it is never much itself: one small object in each megabyte that Python took for the crowd. So nothing that
is made among a crowd may live on: not in a cache of Python's, nor in one of ours. What is renewed with each call is
made to move (allocator_gaps.py).
"""

import asyncio
import contextvars
import gc
import sys
from collections.abc import Callable

from crishim.cri.stream import allocator_gaps
from crishim.linux import executors, libc

AFTER = 3.0  # seconds without an end
ROUNDS = 10  # of as long, at most, while sessions end all the time
_WAITS = 255  # _asynciomodule.c, FI_FREELIST_MAXLEN


class MemoryTrimmer:
    """One task at a time, which keeps nothing of the session that started it."""

    def __init__(self, renew: Callable[[], None] = lambda: None) -> None:
        """renew: called a few times, so that what is renewed at connections only is renewed, too."""
        self._renew = renew
        self._task: asyncio.Task[None] | None = None
        self._wanted = False

    def soon(self) -> None:
        """A connection has ended."""
        self._wanted = True
        if self._task is None:
            self._task = asyncio.create_task(self._trim(), context=contextvars.Context())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _trim(self) -> None:
        try:
            while self._wanted:
                await self._quiet()
                gc.collect()  # ended sessions refer to themselves; it walks over those that live, too: 0.3 ms each
                empty_caches()
                await allocator_gaps.move_out(self._renew)
                gc.collect()
                await executors.kernel(libc.trim)
        finally:
            self._task = None

    async def _quiet(self) -> None:
        """Wait until sessions do not end one after the other any more."""
        for _ in range(ROUNDS):
            self._wanted = False
            await asyncio.sleep(AFTER)
            if not self._wanted:
                break
        self._wanted = False  # one that ends from now on is not seen any more


def empty_caches() -> None:
    """Python's cache of attributes has 4096 names, often strings that code in C made for one look-up.

    And asyncio keeps 255 used iterators of futures for the next to be awaited: when twice as many are there, the first
    are those it kept, and those that end first are kept in their place.
    """
    forget = getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache
    forget()
    future = asyncio.get_running_loop().create_future()
    waits = [future.__await__() for _ in range(2 * _WAITS)]
    while waits:
        waits.pop()
