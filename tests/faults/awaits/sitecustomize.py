"""Counts the await points of every operation of a daemon, and makes one of them fail, without a line of test code in
the product. Python imports this module at start when its directory is on PYTHONPATH (site, "sitecustomize").

An operation is a coroutine that the daemon owns (verbs/owned.py), with every task it starts. Its points are of two
kinds:

    await   it was suspended; what it waited for has come, and is lost: it gets an error in its place, or is cancelled
    kernel  it is about to have a thread or a program touch the kernel: that fails, and nothing was done

$CRISHIM_AWAITS is a directory. A file `arm` in it, {"operation", "kind", "point", "fault"}, is taken by the next
operation of that name. When the operation ends the file `done` says {"await": [places], "kernel": [places], "hit":
place or ""}. A fault is "cancel" or the name of an errno; point 0 is never reached: it counts.
"""

import asyncio
import contextvars
import errno
import functools
import importlib
import json
import os
import signal
import sys
import types
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

DIRECTORY = Path(os.environ.get("CRISHIM_AWAITS", "/nonexistent"))
# Coroutine functions that hand work to a thread or a program.
TOUCHING = """
asyncio to_thread create_subprocess_exec
crishim.wire.linux.executors Executor.__call__
crishim.wire.linux.pod_paths PodPaths.__call__
crishim.netdev.threads across
"""
CURRENT: contextvars.ContextVar["Operation | None"] = contextvars.ContextVar("operation", default=None)


class Operation:
    """One run of an operation: the points it has come by, and the one that is to fail."""

    def __init__(self, kind: str, point: int, fault: str) -> None:
        self._kind, self._point, self._fault = kind, point, fault
        self.seen: dict[str, list[str]] = {"await": [], "kernel": []}
        self.hit = ""
        self.task: asyncio.Task[Any] | None = None  # what a cancellation of the operation ends

    def reached(self, kind: str, place: str) -> str:
        """Take note of a point; the fault that is to happen there, or ""."""
        self.seen[kind].append(place)
        if kind != self._kind or len(self.seen[kind]) != self._point:
            return ""
        self.hit = place
        return self._fault

    def report(self) -> None:
        beside = DIRECTORY / "done.tmp"
        beside.write_text(json.dumps(self.seen | {"hit": self.hit}))
        beside.rename(DIRECTORY / "done")


def armed(name: str) -> Operation | None:
    """What is wanted of an operation that begins now."""
    try:
        wanted = json.loads((DIRECTORY / "arm").read_text())
    except (FileNotFoundError, ValueError):
        return None
    if name.split(" ")[0] != wanted.pop("operation"):
        return None
    (DIRECTORY / "arm").unlink()
    return Operation(**wanted)


def error_of(fault: str) -> OSError:
    number = getattr(errno, fault)
    return OSError(number, os.strerror(number))


def place_of(work: Any) -> tuple[str, bool]:
    """Where a suspended coroutine stands (its innermost line in crishim), and whether that can fail: a lock cannot."""
    found, innermost = "?", ""
    while work is not None:
        frame = getattr(work, "cr_frame", None) or getattr(work, "gi_frame", None) or getattr(work, "ag_frame", None)
        if frame is not None:
            innermost = frame.f_code.co_filename
            if "/crishim/" in innermost:
                found = f"{innermost.rpartition('/crishim/')[2]}:{frame.f_lineno} {frame.f_code.co_name}"
        following = getattr(work, "cr_await", None)
        work = following if following is not None else getattr(work, "gi_yieldfrom", None)
    return found, not innermost.endswith("asyncio/locks.py")


@types.coroutine
def _driven(work: Coroutine[Any, Any, Any], operation: Operation) -> Generator[Any, Any, Any]:
    value: Any = None
    error: BaseException | None = None
    while True:
        try:
            future = work.throw(error) if error is not None else work.send(value)
        except StopIteration as end:
            return end.value
        value, error = None, None
        place, can_fail = place_of(work)
        fault = operation.reached("await", place)
        if fault == "cancel":
            assert operation.task is not None
            operation.task.cancel()
        try:
            value = yield future
        except BaseException as raised:
            error = raised
        else:
            if fault not in ("", "cancel") and can_fail:
                error = error_of(fault)


async def driven(work: Coroutine[Any, Any, Any], operation: Operation) -> Any:
    return await _driven(work, operation)


def make_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> "asyncio.Task[Any]":
    """Every task of an operation is driven as the operation is; but not asyncio's own, which connect a program's pipes.

    (One of those that fails leaves its caller waiting for ever, CPython issue 119710: the start of the program stands
    for them as a point of the kernel.)
    """
    context = options.get("context")
    operation = context.get(CURRENT) if context is not None else CURRENT.get()
    code = getattr(work, "cr_code", None)
    if operation is not None and code is not None and "/asyncio/" not in code.co_filename:
        work = driven(work, operation)
    return asyncio.Task(work, loop=loop, **options)


async def begun(work: Coroutine[Any, Any, Any], operation: Operation) -> Any:
    CURRENT.set(operation)
    operation.task = asyncio.current_task()
    try:
        return await _driven(work, operation)
    finally:
        operation.report()


def touching(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def around(*args: Any, **kwargs: Any) -> Any:
        operation = CURRENT.get()
        if operation is not None and not _nested():
            frame, place = sys._getframe(1), "?"
            while frame is not None and place == "?":
                if "/crishim/" in frame.f_code.co_filename:
                    file = frame.f_code.co_filename.rpartition("/crishim/")[2]
                    place = f"{file}:{frame.f_lineno} {frame.f_code.co_name}"
                frame = frame.f_back
            if fault := operation.reached("kernel", place):
                raise error_of(fault)
        return await function(*args, **kwargs)

    return around


def _nested() -> bool:
    """Whether a function that hands work on was called by another one."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_name == "around" and frame.f_code.co_filename == __file__:
            return True
        frame = frame.f_back
    return False


def install() -> None:
    for line in TOUCHING.strip().split("\n"):
        module_name, *names = line.split()
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError:
            continue
        for name in names:
            *owner, attribute = name.split(".")
            holder = getattr(module, owner[0]) if owner else module
            setattr(holder, attribute, touching(getattr(holder, attribute)))
    from crishim.verbs.owned import Owned

    start = Owned._start

    def _start(self: Owned, work: Any, name: str) -> Any:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(make_task)
        loop.add_signal_handler(signal.SIGUSR1, tell_tasks)
        before = CURRENT.set(None)  # an operation that another one starts is its own
        try:
            operation = armed(name)
            return start(self, begun(work, operation) if operation is not None else work, name)
        finally:
            CURRENT.reset(before)

    Owned._start = _start  # type: ignore[method-assign,assignment]


def tell_tasks() -> None:
    """Print where every task stands: of a daemon that hangs."""
    for task in asyncio.all_tasks():
        print(task.get_name(), place_of(task.get_coro()), task, file=sys.stderr, flush=True)  # noqa: T201


if "serve" in sys.orig_argv:
    install()
