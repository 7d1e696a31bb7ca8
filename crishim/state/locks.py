"""One lock a pod, one a container; an operation that needs both takes the pod's first. Never held while waiting for an
exit or a pull, and never taken by List, Status or Stats.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Locks:
    """Locks by id, made on first use and dropped when they are not held or awaited."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}
        self._wanted: dict[str, asyncio.Event] = {}

    @contextlib.asynccontextmanager
    async def holding(self, id: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(id, asyncio.Lock())
        self._users[id] = self._users.get(id, 0) + 1
        if id in self._wanted:
            self._wanted[id].set()
        try:
            async with lock:
                yield
        finally:
            self._users[id] -= 1
            if not self._users[id]:
                del self._users[id], self._locks[id]

    async def wanted(self, id: str, patience: float) -> None:
        """Wait until somebody waits for a lock that the caller holds, at most `patience` seconds."""
        if self._users[id] > 1:
            return
        wanted = self._wanted[id] = asyncio.Event()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await wanted.wait()
        finally:
            del self._wanted[id]
