"""Limiter: at most so many heavy programs side by side, first come, first served.

A kubelet that starts asks for all its pods at once. A hundred plugin chains and OCI runtimes on a few cores would all
end late, and every other answer of the node with them; in turns the first pods are ready early, the last hardly later.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator

from crishim.histograms import QUEUE
from crishim.tracing import waited

WIDTH = 3 * len(os.sched_getaffinity(0))  # while one waits for the kernel, another has the core
LONGEST = 1.0  # seconds
_WORTH_TELLING = 0.001  # seconds


class Limiter:
    """A slot is free for the others after `longest` seconds at the latest: a program that hangs holds nobody up."""

    def __init__(self, width: int = WIDTH, longest: float = LONGEST) -> None:
        self._free = asyncio.Semaphore(width)
        self._longest = longest

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot, and have it for as long as the context lasts."""
        since = time.perf_counter()
        await self._free.acquire()
        seconds = time.perf_counter() - since
        QUEUE.observe((), seconds)
        if seconds > _WORTH_TELLING:
            waited("wait for a turn", since)
        with contextlib.ExitStack() as given_back:
            given_back.callback(self._free.release)
            late = asyncio.get_running_loop().call_later(self._longest, given_back.close)
            given_back.callback(late.cancel)
            yield
