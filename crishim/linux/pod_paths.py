"""Look-ups of paths that a pod names or that are in its volumes, which may hang: a dead network file system, a FIFO.

Each look-up has its own thread, and each pod a few of them. A look-up that takes too long fails; its thread stays in
the kernel and counts against the pod, so that retries do not accumulate threads. The error names the path that the work
gave last:

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
from crishim.linux.executors import run_and_settle

T = TypeVar("T")

EACH = 3  # look-ups of one pod at a time, those that hang among them


class _LookUp:
    """One look-up, and the path it uses now."""

    path = ""


_current: contextvars.ContextVar[_LookUp] = contextvars.ContextVar("look_up")


def looking_at(path: str) -> None:
    """Set the path that the calling work uses next. Does nothing outside of PodPaths.run()."""
    look_up = _current.get(None)
    if look_up is not None:
        look_up.path = path


class PodPaths:
    """The look-ups under way, by pod. Belongs to the event loop's thread."""

    def __init__(self, limit: float, each: int = EACH) -> None:
        """limit: default seconds of run()."""
        self._limit = limit
        self._each = each
        self._under_way: dict[str, set[_LookUp]] = {}

    async def run(self, pod_id: str, work: Callable[[], T], *, limit: float | None = None) -> T:
        """Run work() in a new thread. limit: seconds.

        DEADLINE after the limit, with the path it hangs at; UNAVAILABLE if EACH earlier look-ups of the pod still hang,
        with their paths. Hanging work may go on later, so it must create nothing that would have to be removed.
        """
        under_way = self._under_way.setdefault(pod_id, set())
        if len(under_way) >= self._each:
            hanging = ", ".join(sorted({p.path or "?" for p in under_way}))
            raise CrishimError(
                Kind.UNAVAILABLE, f"earlier look-ups of this pod's paths still hang: {hanging}", pod=pod_id
            )
        loop, look_up = asyncio.get_running_loop(), _LookUp()
        future: asyncio.Future[T] = loop.create_future()
        under_way.add(look_up)
        context = contextvars.copy_context()
        context.run(_current.set, look_up)

        def done() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._done, pod_id, look_up)

        def counted() -> T:
            try:
                return work()
            finally:
                done()  # before the result is set: the caller may start the next look-up at once

        def body() -> None:
            run_and_settle(loop, future, partial(context.run, counted))
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
                f"{look_up.path or 'a path of the pod'} does not answer: given up after {seconds:g} s",
                path=look_up.path,
                pod=pod_id,
            ) from None

    def hanging(self, pod_id: str) -> list[str]:
        """The paths that look-ups of a pod use now."""
        return sorted(look_up.path for look_up in self._under_way.get(pod_id, ()))

    def _done(self, pod_id: str, look_up: _LookUp) -> None:
        left = self._under_way.get(pod_id)
        if left is not None:
            left.discard(look_up)
            if not left:
                del self._under_way[pod_id]
