"""Runs work in network namespaces for the event loop: one thread for each transaction, with a Netns (a netlink socket,
a sysfs) open for each namespace as long as the transaction lasts.

The thread is not pooled: it is no longer in the process's namespace.
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
    """One such thread, started by run(). It ends after run(last=True) or by close()."""

    def __init__(self, paths: tuple[str | Path, ...], kept: Kept | None = None) -> None:
        """paths: handles of the namespaces, the host's first. kept: holds the first one's sysfs."""
        self._paths = paths
        self._kept = kept
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._started = False

    async def run(self, work: Callable[..., T], *, last: bool = False) -> T:
        """Call work(Netns, ...), one for each namespace, in the thread. Its OSError is raised as INTERNAL.

        last: the thread then closes the namespaces and ends, also after an error; a later run() starts another.
        A cancelled caller waits for the thread nevertheless: a move must not go on beside its rollback.
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
        result: T = await self._submit(work, last)
        return result

    async def close(self) -> None:
        """Close the namespaces, whose descriptors keep them alive, and end the thread; waits for that. Idempotent."""
        if self._started:
            self._started = False
            await self._submit(None, True)

    async def _submit(self, work: Callable[..., Any] | None, last: bool) -> Any:
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
            done.exception()  # mark it as retrieved: the caller gets the cancellation
            raise cancelled
        return done.result()

    def _serve(self) -> None:
        namespaces: list[Netns] = []
        while True:
            loop, done, work, last = self._jobs.get()
            if work is None:
                executors.run_and_settle(loop, done, partial(_close, namespaces))
                return
            executors.run_and_settle(loop, done, partial(self._work, namespaces, work))
            if last:
                _close(namespaces)  # may take milliseconds (sysfs.Kept); the caller does not wait
                return
            del done, work  # a waiting thread keeps no result alive

    def _work(self, namespaces: list[Netns], work: Callable[..., Any]) -> Any:
        """Open the namespaces that are not open yet. Raises OSError; EINVAL: a handle is of no network namespace."""
        for path in self._paths[len(namespaces) :]:
            namespaces.append(Netns(path, None if namespaces else self._kept))
        return work(*namespaces)


def _close(namespaces: list[Netns]) -> None:
    with contextlib.ExitStack() as stack:
        for netns in namespaces:
            stack.callback(netns.close)
