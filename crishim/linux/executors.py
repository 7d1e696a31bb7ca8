"""Thread pools for blocking calls, one for each kind of work, so that no kind blocks another.

asyncio's own pool (asyncio.to_thread) is not used: it is shared, and the process waits for its threads at exit. These
are daemon threads, for which it does not wait.

    records     the daemon's own small files: records, bundles, configuration; what Status and List may wait for
    kernel      namespaces, mounts, cgroups
    processes   other processes: /proc, which a hanging one can block, and waiting until killed ones are gone
    images      image archives and layers, read from end to end
    registries  resolving their names, loading CA certificates
    statistics  cgroup files, network counters, file systems
    deletion    directory trees of any size
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

_Job = tuple[threading.Lock, Callable[[], None]]  # whoever takes the lock runs it
_Inbox = queue.SimpleQueue[_Job]  # of an idle thread
IDLE = 20.0  # seconds; a thread holds 30 to 40 kB, and many calls at once leave dozens
SETTLING = 2.0  # seconds a cancelled caller waits for work that has begun


class Executor(concurrent.futures.Executor):
    """At most `width` threads, started on demand; a thread ends when it was idle for IDLE seconds."""

    def __init__(self, name: str, width: int) -> None:
        self.name = name
        self.width = width
        self._lock = threading.Lock()  # held briefly, in the event loop's thread too
        self._jobs: collections.deque[_Job] = collections.deque()
        self._idle: list[_Inbox] = []  # of idle threads; the last one gets the next job, so that others can end
        self._threads = 0

    async def __call__(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work(*args, **kwargs) in one of the threads, with the caller's context variables.

        A cancelled caller waits up to SETTLING seconds for work that has begun, so that it does not run beside a
        rollback; work that has not begun is not run. The result is dropped either way.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        claim = threading.Lock()  # taken by the thread that runs the work, or by the caller that cancels it
        done = partial(contextvars.copy_context().run, work, *args, **kwargs)
        self._put(claim, partial(run_and_settle, loop, future, done))
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
        except RuntimeError:  # the host's or the unit's limit of tasks is reached
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
        """Wait for a job; None if there was none for IDLE seconds: the thread is not counted any more and must end."""
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
        return inbox.get()  # one was put after the timeout


def run_and_settle(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[T]", work: Callable[[], T]) -> None:
    """Run work in the calling thread, unless the future is cancelled, and set its result in the loop's thread."""
    if future.cancelled():
        return
    try:
        settle = partial(_succeed, future, work())
    except BaseException as error:
        settle = partial(_fail, future, error)
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(settle)


def _answer(future: "concurrent.futures.Future[T]", work: Callable[[], T]) -> None:
    """Run work in the calling thread, unless the future is cancelled, and set its result."""
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
processes = Executor("processes", 32)  # mostly waiting until killed ones are gone
images = Executor("images", 2)
registries = Executor("registries", 4)
statistics = Executor("statistics", 2)
deletion = Executor("deletion", 2)
modules = Executor("modules", 1)
