"""The one bridge from the event loop to work in network namespaces: a thread for each transaction, with an end (a
socket, a sysfs) in each namespace for as long as the transaction lasts.

The thread goes back to no pool: it is no longer in the namespace that the process is in.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from crishim.errors import CrishimError, Kind
from crishim.linux import executors
from crishim.linux.netns_thread import Netns
from crishim.linux.sysfs import Kept

T = TypeVar("T")
_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[..., Any] | None, bool]


class NetnsExecutor:
    """One such thread, started when there is work for it. It ends with its last work, or close() ends it."""

    def __init__(self, paths: tuple[str | Path, ...], kept: Kept | None = None) -> None:
        """paths: handles of the namespaces, the host's first. kept: where the first one's sysfs comes from."""
        self._paths = paths
        self._kept = kept
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._started = False

    async def run(self, work: Callable[..., T], *, last: bool = False) -> T:
        """Await work(End, ...), one end in each namespace, in the thread. The kernel's refusals (OSError) are INTERNAL.

        last: the thread closes the ends right after it, whether it failed or not, and ends; what comes later has a new
        thread and new ones.
        A cancelled caller waits for the thread nevertheless: half a move must not go on behind a rollback's back.
        """
        try:
            result: T = await self._call(work, last)
        except OSError as error:
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
            raise CrishimError(Kind.INTERNAL, f"the kernel refused work on network devices: {what}") from error
        return result

    async def _call(self, work: Callable[..., T], last: bool) -> T:
        if not self._started:
            threading.Thread(target=self._serve, name="netdev", daemon=True).start()
        self._started = not last
        result: T = await self._hand_over(work, last)
        return result

    async def close(self) -> None:
        """Close the ends and end the thread, and wait for that: a descriptor keeps a pod's namespace. Idempotent."""
        if self._started:
            self._started = False
            await self._hand_over(None, True)

    async def _hand_over(self, work: Callable[..., Any] | None, last: bool) -> Any:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        self._jobs.put((loop, done, work, last))
        cancelled: asyncio.CancelledError | None = None
        while not done.done():
            try:
                await asyncio.wait([done])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            done.exception()  # seen: the cancellation is what the caller gets
            raise cancelled
        return done.result()

    def _serve(self) -> None:
        ends: list[Netns] = []
        while True:
            loop, done, work, last = self._jobs.get()
            if work is None:
                executors.carry_out(loop, done, partial(_close, ends))
                return
            executors.carry_out(loop, done, partial(self._work, ends, work))
            if last:
                _close(ends)  # it may take milliseconds (sysfs.Kept), which nobody waits for
                return
            del done, work  # a waiting thread keeps no result alive

    def _work(self, ends: list[Netns], work: Callable[..., Any]) -> Any:
        """Open what is not open yet. Raises OSError; EINVAL: a handle is of no network namespace."""
        for path in self._paths[len(ends) :]:
            ends.append(Netns(path, None if ends else self._kept))
        return work(*ends)


def _close(ends: list[Netns]) -> None:
    with contextlib.ExitStack() as stack:
        for end in ends:
            stack.callback(end.close)
