"""Every point at which an operation is suspended, counted while it runs, and one of them made to fail or be cancelled.

An operation is a coroutine with the tasks it starts. It has points of two kinds:

    await   it was suspended; what it waited for has come, and is lost: it gets an error in its place, or is cancelled
    kernel  it is about to have a thread or a program touch the kernel: that fails, and nothing was done

A place is the innermost lines of crishim it stands at, at most DEPTH of them: one line that many callers wait in is
many places. tests/faults/awaits does it in a daemon, tests/unit/operations over drivers in memory.
"""

import asyncio
import contextvars
import errno
import gc
import os
import types
from collections.abc import Coroutine, Generator
from typing import Any

DEPTH = 4
AWAITED = ("cr_await", "gi_yieldfrom", "ag_await")
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


def error_of(fault: str) -> OSError:
    number = getattr(errno, fault)
    return OSError(number, os.strerror(number))


def place_of(work: Any) -> tuple[str, bool]:
    """Where a suspended coroutine stands, and whether that can fail: a lock cannot."""
    lines, innermost = [], ""
    while work is not None:
        frame = getattr(work, "cr_frame", None) or getattr(work, "gi_frame", None) or getattr(work, "ag_frame", None)
        if frame is not None:
            innermost = frame.f_code.co_filename
            lines += line_of(frame)
        work = next(filter(None, (getattr(work, name, None) for name in AWAITED)), None) or _generator(work)
    return " < ".join(lines[: -DEPTH - 1 : -1]) or "?", not innermost.endswith("asyncio/locks.py")


def _generator(step: Any) -> Any:
    """The asynchronous generator whose next part is awaited; it is no attribute of its step."""
    found = gc.get_referents(step) if type(step).__name__ == "async_generator_asend" else ()
    return next((each for each in found if isinstance(each, types.AsyncGeneratorType)), None)


def line_of(frame: types.FrameType) -> list[str]:
    """The line as a list of one; none if it is not crishim's."""
    code = frame.f_code
    if "/crishim/" not in code.co_filename:
        return []
    return [f"{code.co_filename.rpartition('/crishim/')[2]}:{frame.f_lineno} {code.co_name}"]


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
    if operation is None or code is None or "/asyncio/" in code.co_filename:
        return asyncio.Task(work, loop=loop, **options)
    task = asyncio.Task(driven(work, operation), loop=loop, **options)
    task.add_done_callback(lambda _: work.close())  # cancelled before its first step, it was never begun
    return task
