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
import collections
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
_Inbox = queue.SimpleQueue[_Job]  # of a thread without work
IDLE = 20.0  # seconds; a thread holds 30 to 40 kB, and a crowd of calls leaves dozens
SETTLING = 2.0  # seconds a cancelled caller waits for work that has begun


class Executor(concurrent.futures.Executor):
    """At most `width` threads, started when there is work for them, and gone when there was none for IDLE seconds."""

    def __init__(self, name: str, width: int) -> None:
        self.name = name
        self.width = width
        self._lock = threading.Lock()  # held for a moment only, in the event loop's thread too
        self._jobs: collections.deque[_Job] = collections.deque()
        self._idle: list[_Inbox] = []  # of threads without work; the last one gets the next job, so that others end
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
        with self._lock:
            if self._idle:
                self._idle.pop().put((claim, job))
                return
            self._jobs.append((claim, job))
            if self._threads == self.width:
                return
            self._threads += 1
            name = f"{self.name}-{self._threads}"
        try:
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        except RuntimeError:  # the host or the unit has no room for one now
            with self._lock:
                self._threads -= 1
                others = self._threads
            if not others and claim.acquire(blocking=False):
                raise

    def _serve(self) -> None:
        inbox: _Inbox = queue.SimpleQueue()
        while job := self._next(inbox):
            if job[0].acquire(blocking=False):
                job[1]()
            del job  # an idle thread keeps no result alive

    def _next(self, inbox: "_Inbox") -> "_Job | None":
        """Wait for a job; None if there was none for IDLE seconds: the thread does not count any more."""
        with self._lock:
            if self._jobs:
                return self._jobs.popleft()
            self._idle.append(inbox)
        with contextlib.suppress(queue.Empty):
            return inbox.get(timeout=IDLE)
        with self._lock:
            if inbox in self._idle:
                self._idle.remove(inbox)
                self._threads -= 1
                return None
        return inbox.get()  # it came at the last moment


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
