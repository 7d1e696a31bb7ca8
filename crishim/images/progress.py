"""Detect stalled copies: a registry that accepts a connection and then sends nothing.

A copy's progress is the bytes it reads and writes, sockets included: rchar and wchar of proc_pid_io(5). A copy that
waits for the store's lock makes no progress either, while another unpacks a large layer; so only the time in which no
copy makes progress counts.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from crishim.errors import CrishimError, Kind
from crishim.images.failures import REGISTRY_UNAVAILABLE

T = TypeVar("T")
CHECKS = 10  # checks within the limit


class Progress:
    """Watches all copies into one store."""

    def __init__(self, limit: float) -> None:
        """limit: seconds without progress after which a copy is cancelled."""
        self._limit = limit
        self._moved: dict[int, bytes] = {}
        self._moved_at = 0.0

    async def watch(self, work: Callable[[Callable[[int], None]], Awaitable[T]], what: str) -> T:
        """Run work and return its result; work passes the pid of its program to the function it gets.

        If the program stalls, work is cancelled and UNKNOWN raised, with the prefix RegistryUnavailable.
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
        """Check one program, and return when any of them last made progress (monotonic seconds)."""
        try:
            counters = Path(f"/proc/{pid}/io").read_bytes()
        except OSError:
            counters = b"ended"
        if self._moved.get(pid) != counters:
            self._moved[pid] = counters
            self._moved_at = time.monotonic()
        return self._moved_at
