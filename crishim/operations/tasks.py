"""Run operations in tasks of their own: a client's deadline cancels its RPC handler, and a second cancellation would
skip the rollback. The handler waits for its task, and shutdown waits for all of them.
"""

import asyncio
import contextvars
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from crishim.errors import CrishimError, Kind

T = TypeVar("T")

log = logging.getLogger("crishim.tasks")


class Tasks:
    """The running operations and background tasks of the daemon."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Run work in the background; an error is logged. The task keeps the caller's log context."""
        task = self._start(work, name)
        task.add_done_callback(_report)
        return task

    async def run(self, work: Coroutine[Any, Any, T], *, name: str, for_caller: bool = False) -> T:
        """Start work and wait for it; cancelling the waiter does not cancel the work.

        for_caller: only the caller needs the work, so it is cancelled with the waiter, once, and not waited for. Raises
        ABORTED if the work itself was cancelled.
        """
        task = self._start(work, name)
        task.add_done_callback(_retrieve)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled() and not _is_cancelled():
                raise CrishimError(Kind.ABORTED, f"{name} was given up in its middle") from None
            if for_caller:
                task.cancel()
            raise

    def _start(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work, name=name, context=contextvars.copy_context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def drain(self, timeout: float) -> list[str]:
        """Wait until all tasks have ended, at most timeout seconds; returns the names of those still running."""
        pending = set(self._tasks)
        if pending:
            _, pending = await asyncio.wait(pending, timeout=timeout)
        return sorted(task.get_name() for task in pending)


def _is_cancelled() -> bool:
    """Whether the current task itself was cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _report(task: asyncio.Task[Any]) -> None:
    """Log a background task's error: no caller gets it."""
    if not task.cancelled() and task.exception() is not None:
        log.error("a background task failed", extra={"task": task.get_name()}, exc_info=task.exception())


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Retrieve the error, so that asyncio does not report that of an abandoned call as never retrieved."""
    if not task.cancelled():
        task.exception()
