"""Return the memory of ended sessions to the kernel. A thousand sessions leave 31 MB without it, 4 to 8 with it.

One small object is enough to keep a megabyte that Python allocated while many sessions were open. So no object from
that time may stay, in no cache of Python's nor of ours. Objects that each call replaces are moved (allocator_gaps.py).
"""

import asyncio
import contextvars
import gc
import sys
from collections.abc import Callable

from crishim.cri.stream import allocator_gaps
from crishim.linux import executors, libc

AFTER = 3.0  # seconds without a session's end
ROUNDS = 10  # of AFTER seconds, at most, while sessions keep ending
_WAITS = 255  # _asynciomodule.c, FI_FREELIST_MAXLEN


class MemoryTrimmer:
    """Trims in one task at a time, which holds no reference to the session that started it."""

    def __init__(self, renew: Callable[[], None] = lambda: None) -> None:
        """renew: called a few times; replaces the objects that otherwise only a new connection replaces."""
        self._renew = renew
        self._task: asyncio.Task[None] | None = None
        self._wanted = False

    def soon(self) -> None:
        """Trim soon: a connection has ended."""
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
                gc.collect()  # ended sessions are reference cycles; open ones are traversed too, 0.3 ms each
                empty_caches()
                await allocator_gaps.move_out(self._renew)
                gc.collect()
                await executors.kernel(libc.trim)
        finally:
            self._task = None

    async def _quiet(self) -> None:
        """Wait until no session has ended for AFTER seconds."""
        for _ in range(ROUNDS):
            self._wanted = False
            await asyncio.sleep(AFTER)
            if not self._wanted:
                break
        self._wanted = False  # a session that ends from now on sets it: another trim


def empty_caches() -> None:
    """Empty Python's method cache, whose 4096 names are often strings that C code made for one look-up.

    And replace asyncio's free list of 255 FutureIter objects: of twice as many, the first come from the list, and those
    freed first take their place in it.
    """
    forget = getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache
    forget()
    future = asyncio.get_running_loop().create_future()
    waits = [future.__await__() for _ in range(2 * _WAITS)]
    while waits:
        waits.pop()
