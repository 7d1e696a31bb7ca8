"""Buffers of received bytes that are not read yet, limited for each stream and for the connection."""

import asyncio
from collections import deque
from collections.abc import Callable

LIMIT = 128 * 1024  # bytes of one stream; more than a SPDY window, so that one that obeys it stalls no other stream
CONNECTION_LIMIT = 256 * 1024  # bytes of all streams of a connection
OVERHEAD = 64  # bytes that holding a chunk costs beside its own


class ReceivedBytes:
    """How many bytes all buffers of one connection hold."""

    def __init__(self) -> None:
        self.size = 0
        self.changed = asyncio.Event()

    def change(self, size: int) -> None:
        self.size += size
        self.changed.set()


class ReceiveBuffer:
    """The buffer of one stream: put() waits while it is full; consumed is called with the number read or dropped."""

    def __init__(self, received: ReceivedBytes, consumed: Callable[[int], None] | None = None) -> None:
        self._received = received
        self._chunks: deque[bytes] | None = None  # made with the first bytes: many streams get none
        self._size = 0
        self._ended = False
        self._discarding = False
        self._consumed = consumed or (lambda size: None)
        self._reader: asyncio.Future[None] | None = None

    def offer(self, data: bytes) -> bool:
        """Add bytes; if there is no room, add nothing and return False."""
        if self._discarding or self._ended:
            self._consumed(len(data))
            return True
        if self._size >= LIMIT or self._received.size >= CONNECTION_LIMIT:
            return False
        if self._chunks is None:
            self._chunks = deque()
        self._chunks.append(data)
        self._change(len(data) + OVERHEAD)
        self._wake()
        return True

    async def put(self, data: bytes) -> None:
        """Wait for room and add bytes. If cancelled, nothing is added."""
        while not self.offer(data):
            self._received.changed.clear()
            await self._received.changed.wait()

    def end(self) -> None:
        """Mark the end: no more bytes will be added."""
        self._ended = True
        self._wake()

    def discard(self) -> None:
        """Drop all bytes, also those that still come: there is no reader any more."""
        self._discarding = True
        while self._chunks:
            self._pop()
        self._received.change(0)
        self._wake()

    async def get(self) -> bytes:
        """The next bytes, b"" at the end. For one task at a time."""
        while not self._chunks:
            if self._ended or self._discarding:
                return b""
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self._pop()

    def _pop(self) -> bytes:
        assert self._chunks is not None
        data = self._chunks.popleft()
        self._change(-len(data) - OVERHEAD)
        self._consumed(len(data))
        return data

    def _change(self, size: int) -> None:
        self._size += size
        self._received.change(size)

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
