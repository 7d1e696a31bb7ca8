"""Limits the streaming server's work in one iteration of the event loop, and shares it round robin among connections.

A unit is about 10 us of work: a frame, or 8 KiB of data. A connection uses a slice of units and then asks for the next
one; an iteration has a fixed number of slices, and connections queue for those of later ones. So an iteration takes
milliseconds however many clients flood the server, and a quiet client waits for one slice of each.
"""

import asyncio
from collections import deque

ITERATION = 256  # units of all connections together in one iteration of the loop
SLICE = 32  # units one connection may use before it queues
BYTES_PER_UNIT = 8192


class FairScheduler:
    """Hands out slices of the running loop's iterations. One for the whole server."""

    def __init__(self) -> None:
        self._left = ITERATION
        self._queue: deque[asyncio.Future[None]] = deque()
        self._scheduled = False

    async def next_slice(self) -> None:
        """Wait for SLICE units."""
        self._schedule()
        if self._left >= SLICE and not self._queue:
            self._left -= SLICE
            return
        granted = asyncio.get_running_loop().create_future()
        self._queue.append(granted)
        await granted

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._begin_iteration)

    def _begin_iteration(self) -> None:
        self._scheduled = False
        self._left = ITERATION
        while self._queue and self._left >= SLICE:
            granted = self._queue.popleft()
            if not granted.done():  # cancelled otherwise
                granted.set_result(None)
                self._left -= SLICE
        if self._left < ITERATION:
            self._schedule()


class Budget:
    """One connection's units."""

    def __init__(self, scheduler: FairScheduler) -> None:
        self._scheduler = scheduler
        self._left = 0

    async def spend(self, units: int = 1) -> None:
        """Call before work of so many units: returns at once, or when the connection gets its next slice."""
        self._left -= units
        while self._left < 0:
            await self._scheduler.next_slice()
            self._left += SLICE

    async def spend_on(self, data: bytes) -> None:
        """Call before data is copied."""
        await self.spend(1 + len(data) // BYTES_PER_UNIT)
