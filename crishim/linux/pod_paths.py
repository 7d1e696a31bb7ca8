"""Look-ups of paths that a pod names or whose volumes hold them: a network file system that does not answer, a FIFO.

Each look-up has a thread of its own, and each pod a few of them. A look-up that does not end is given up after a limit;
its thread stays in the kernel until that lets it go, and counts against its pod, so that a client that tries for ever
does not collect threads. The error names the path: the work says before each one what it is about to touch.

    looking_at(path)    in the work, right before a system call that may hang
"""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from crishim.errors import CrishimError, Kind
from crishim.linux.executors import carry_out

T = TypeVar("T")

EACH = 3  # look-ups of one pod at a time, those that hang among them


class _Place:
    """Where a look-up is."""

    path = ""


_current: contextvars.ContextVar[_Place] = contextvars.ContextVar("place")


def looking_at(path: str) -> None:
    """Note the path the calling work touches next; nothing outside of PodPaths.run()."""
    place = _current.get(None)
    if place is not None:
        place.path = path


class PodPaths:
    """The look-ups under way, by pod. Belongs to the event loop's thread."""

    def __init__(self, limit: float, each: int = EACH) -> None:
        """limit: seconds until a look-up is given up, where run() is not told otherwise."""
        self._limit = limit
        self._each = each
        self._under_way: dict[str, set[_Place]] = {}

    async def run(self, pod_id: str, work: Callable[[], T], *, limit: float | None = None) -> T:
        """Await work(), done in a thread of its own.

        DEADLINE names the path it hangs at when the limit has passed, UNAVAILABLE those where earlier work of the pod
        still hangs. What such work does afterwards comes late, so it must leave nothing that needs to be taken away.
        """
        under_way = self._under_way.setdefault(pod_id, set())
        if len(under_way) >= self._each:
            hanging = ", ".join(sorted({p.path or "?" for p in under_way}))
            raise CrishimError(
                Kind.UNAVAILABLE, f"earlier look-ups of this pod's paths still hang: {hanging}", pod=pod_id
            )
        loop, place = asyncio.get_running_loop(), _Place()
        future: asyncio.Future[T] = loop.create_future()
        under_way.add(place)
        context = contextvars.copy_context()
        context.run(_current.set, place)

        def done() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._done, pod_id, place)

        def counted() -> T:
            try:
                return work()
            finally:
                done()  # before its caller hears of it, who may have the next look-up ready

        def body() -> None:
            carry_out(loop, future, partial(context.run, counted))
            done()

        threading.Thread(target=body, name=f"paths-{pod_id[:13]}", daemon=True).start()
        seconds = self._limit if limit is None else limit
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            if not future.cancelled():
                raise
            raise CrishimError(
                Kind.DEADLINE,
                f"{place.path or 'a path of the pod'} does not answer: given up after {seconds:g} s",
                path=place.path,
                pod=pod_id,
            ) from None

    def hanging(self, pod_id: str) -> list[str]:
        """The paths that look-ups of a pod are at now."""
        return sorted(place.path for place in self._under_way.get(pod_id, ()))

    def _done(self, pod_id: str, place: _Place) -> None:
        left = self._under_way.get(pod_id)
        if left is not None:
            left.discard(place)
            if not left:
                del self._under_way[pod_id]
