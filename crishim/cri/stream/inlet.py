"""Bytes on their way from a client to whatever uses them up, bounded."""

import asyncio
from collections import deque
from collections.abc import Callable

LIMIT = 256 * 1024  # bytes; above a SPDY window, so that a client that keeps windows never holds up its other streams


class Inlet:
    """One stream's received bytes. The one who puts waits while LIMIT bytes lie here; consumed is told what left."""

    def __init__(self, consumed: Callable[[int], None] | None = None) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._discarding = False
        self._consumed = consumed or (lambda size: None)
        self._changed = asyncio.Event()

    async def put(self, data: bytes) -> None:
        """Add bytes, after waiting for room. Cancelled, it has added nothing."""
        while not self.has_room():
            self._changed.clear()
            await self._changed.wait()
        if self._discarding or self._ended:
            self._consumed(len(data))
            return
        self._chunks.append(data)
        self._size += len(data)
        self._changed.set()

    def has_room(self) -> bool:
        return self._size < LIMIT or self._discarding

    def end(self) -> None:
        """No more will come."""
        self._ended = True
        self._changed.set()

    def discard(self) -> None:
        """Nobody will use these bytes: drop what is here and what still comes."""
        self._discarding = True
        self._consumed(self._size)
        self._chunks.clear()
        self._size = 0
        self._changed.set()

    async def get(self) -> bytes:
        """The next bytes, b"" at the end."""
        while not self._chunks:
            if self._ended or self._discarding:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = self._chunks.popleft()
        self._size -= len(data)
        self._consumed(len(data))
        self._changed.set()
        return data
