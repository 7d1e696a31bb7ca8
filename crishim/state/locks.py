"""One lock a pod, one a container; an operation that needs both takes the pod's first. Never held while waiting for an
exit or a pull, and never taken by List, Status or Stats.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Locks:
    """Locks by id, made when first asked for and dropped when nobody holds or awaits them."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}

    @contextlib.asynccontextmanager
    async def holding(self, id: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(id, asyncio.Lock())
        self._users[id] = self._users.get(id, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._users[id] -= 1
            if not self._users[id]:
                del self._users[id], self._locks[id]
