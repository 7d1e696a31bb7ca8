"""Noticing copies that do not get on: a registry that accepts a connection and then sends nothing.

A copy's progress is what it reads and writes, sockets included: rchar and wchar of proc_pid_io(5). One that waits for
the store's lock moves nothing either, while another unpacks a large layer; so the clock runs only while no copy at all
gets on.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from crishim.errors import CrishimError, Kind
from crishim.images.failures import REGISTRY_UNAVAILABLE

T = TypeVar("T")
CHECKS = 10  # looks within the limit


class Progress:
    """Watches all copies into one store."""

    def __init__(self, limit: float) -> None:
        """limit: seconds without any progress after which a copy is given up."""
        self._limit = limit
        self._moved: dict[int, bytes] = {}
        self._moved_at = 0.0

    async def watch(self, work: Callable[[Callable[[int], None]], Awaitable[T]], what: str) -> T:
        """The result of work, which tells the function it is given the pid of the program it runs.

        When the program stands still, work is cancelled and UNKNOWN raised, with the prefix RegistryUnavailable.
        """
        pids: list[int] = []
        started = time.monotonic()
        task = asyncio.ensure_future(work(pids.append))
        try:
            while True:
                done, _ = await asyncio.wait({task}, timeout=self._limit / CHECKS)
                if done:
                    return task.result()
                if pids and time.monotonic() - max(started, self._last_move(pids[0])) > self._limit:
                    text = f"{REGISTRY_UNAVAILABLE}: {what}: nothing was received for {self._limit:g} s"
                    raise CrishimError(Kind.UNKNOWN, text)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
            for pid in pids:
                self._moved.pop(pid, None)

    def _last_move(self, pid: int) -> float:
        """When any program was last seen to get on, as far as this look at one of them tells (monotonic seconds)."""
        try:
            counters = Path(f"/proc/{pid}/io").read_bytes()
        except OSError:
            counters = b"ended"
        if self._moved.get(pid) != counters:
            self._moved[pid] = counters
            self._moved_at = time.monotonic()
        return self._moved_at
