"""Limiter: at most so many heavy programs at a time, first come, first served.

A kubelet that starts asks for all its pods at once. A hundred plugin chains and OCI runtimes at once on a few cores
would delay all of them and every other answer; a few at a time make the first pods ready early, the last hardly later.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator

from crishim.histograms import QUEUE
from crishim.tracing import waited

WIDTH = 3 * len(os.sched_getaffinity(0))  # while one waits for the kernel, another uses the core
LONGEST = 1.0  # seconds
_TRACED = 0.001  # seconds: shorter waits are not traced


class Limiter:
    """A slot is released after `longest` seconds at the latest, so that a program that hangs does not block others."""

    def __init__(self, width: int = WIDTH, longest: float = LONGEST) -> None:
        self._free = asyncio.Semaphore(width)
        self._longest = longest

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot, and hold it until the context ends or `longest` has passed."""
        since = time.perf_counter()
        await self._free.acquire()
        seconds = time.perf_counter() - since
        QUEUE.observe((), seconds)
        if seconds > _TRACED:
            waited("wait for a turn", since)
        with contextlib.ExitStack() as held:
            held.callback(self._free.release)
            late = asyncio.get_running_loop().call_later(self._longest, held.close)
            held.callback(late.cancel)
            yield
