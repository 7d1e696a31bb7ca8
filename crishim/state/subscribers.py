"""Clients that subscribe to changes, each with its own queue.

The stream of one that reads too slowly is ended, so that memory does not grow and no change is skipped.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Generic, TypeVar

from crishim.errors import CrishimError, Kind

T = TypeVar("T")

QUEUE = 1000  # changes a subscriber may lag behind


class Subscriber(Generic[T]):
    """One client's queue; None in it is the end."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[T | None] = asyncio.Queue(QUEUE)
        self.overrun = False

    def put(self, change: T) -> None:
        try:
            self.queue.put_nowait(change)
        except asyncio.QueueFull:
            self.overrun = True

    def end(self) -> None:
        """End the stream after what is queued."""
        with contextlib.suppress(asyncio.QueueFull):
            self.queue.put_nowait(None)


class Subscribers(Generic[T]):
    """The present subscribers."""

    def __init__(self) -> None:
        self._all: set[Subscriber[T]] = set()
        self.closed = False

    def close(self) -> None:
        """End every stream, also later ones: a server that shuts down would wait for them otherwise."""
        self.closed = True
        for subscriber in self._all:
            subscriber.end()

    async def changes(self, subscriber: Subscriber[T]) -> AsyncIterator[T]:
        """Yield a subscriber's changes until close(). ABORTED if the client lags more than QUEUE changes behind."""
        while not subscriber.overrun and not (self.closed and subscriber.queue.empty()):
            change = await subscriber.queue.get()
            if change is None:
                return
            yield change
        if subscriber.overrun:
            raise CrishimError(Kind.ABORTED, f"the client lags more than {QUEUE} changes behind: subscribe again")

    @contextlib.contextmanager
    def subscribed(self) -> Iterator[Subscriber[T]]:
        """A new subscriber, until the block ends."""
        subscriber: Subscriber[T] = Subscriber()
        self._all.add(subscriber)
        try:
            yield subscriber
        finally:
            self._all.discard(subscriber)
