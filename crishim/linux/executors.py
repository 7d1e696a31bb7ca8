"""Threads for calls that block, in pools that share nothing: what one kind of work waits for holds up no other kind.

asyncio's own pool (asyncio.to_thread) is used nowhere: it is one for all, and the end of the process waits for its
threads. These are daemon threads, which a process may leave behind in the kernel when it ends.

    records     the daemon's own small files: records, bundles, configuration; what Status and List may wait for
    kernel      namespaces, mounts, cgroups
    processes   other processes: /proc, which one that hangs can block, and waiting until the killed are gone
    images      image archives and layers, read from end to end
    registries  resolving their names, loading the certificates of authorities
    statistics  what is counted: cgroup files, network counters, file systems
    deletion    trees of any size
    modules     imports of what is not needed to answer the first calls (cli/serve.py)

Paths that a pod names or its volumes hold have threads of their own (pod_paths.py), and so has work in network
namespaces (namespaces.py, netdev/netns_executor.py).
"""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

_Job = tuple[threading.Lock, Callable[[], None]]  # who takes the lock does it
SETTLING = 2.0  # seconds a cancelled caller waits for work that has begun


class Executor(concurrent.futures.Executor):
    """At most `width` threads, started when there is work for them and kept."""

    def __init__(self, name: str, width: int) -> None:
        self.name = name
        self.width = width
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads = 0

    async def __call__(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await work(*args, **kwargs), done in one of the threads, in the caller's context variables.

        A cancelled caller waits for work that has begun, for SETTLING seconds: half a mount must not go on behind a
        rollback's back. What has not begun is not done. The result is dropped either way.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        claim = (
            threading.Lock()
        )  # whoever takes it has the work: a thread, or the caller that does not want it any more
        done = partial(contextvars.copy_context().run, work, *args, **kwargs)
        self._put(claim, partial(carry_out, loop, future, done))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if not claim.acquire(blocking=False):
                await asyncio.wait((future,), timeout=SETTLING)
            raise

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "concurrent.futures.Future[T]":
        """As concurrent.futures.Executor, for libraries that take one of those (linux/async_files.py)."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._put(threading.Lock(), partial(_answer, future, partial(work, *args, **kwargs)))
        return future

    def _put(self, claim: threading.Lock, job: Callable[[], None]) -> None:
        self._jobs.put((claim, job))
        if not self._idle.acquire(blocking=False) and self._threads < self.width:
            self._threads += 1
            threading.Thread(target=self._serve, name=f"{self.name}-{self._threads}", daemon=True).start()

    def _serve(self) -> None:
        while True:
            job = self._next()
            if job is None:
                self._idle.release()
                job = self._jobs.get()
            if job[0].acquire(blocking=False):
                job[1]()
            del job  # an idle thread keeps no result alive

    def _next(self) -> "_Job | None":
        """A job that waits already. (In the handler of Empty an idle thread would keep that error and its frames.)"""
        try:
            return self._jobs.get_nowait()
        except queue.Empty:
            return None


def carry_out(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[T]", work: Callable[[], T]) -> None:
    """Do work in the calling thread, unless nobody waits any more, and settle the future in its loop's thread."""
    if future.cancelled():
        return
    try:
        settle = partial(_succeed, future, work())
    except BaseException as error:
        settle = partial(_fail, future, error)
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(settle)


def _answer(future: "concurrent.futures.Future[T]", work: Callable[[], T]) -> None:
    """Do work in the calling thread, unless nobody waits any more."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)


def _succeed(future: "asyncio.Future[T]", result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


records = Executor("records", 4)
kernel = Executor("kernel", 8)
processes = Executor("processes", 32)  # most of it is waiting for killed ones to be gone
images = Executor("images", 2)
registries = Executor("registries", 4)
statistics = Executor("statistics", 2)
deletion = Executor("deletion", 2)
modules = Executor("modules", 1)
