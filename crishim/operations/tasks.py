"""Operations as tasks of their own: a client's deadline cancels its RPC handler, and a second cancellation would skip
the rollback. So the operation runs in a task of ours, the handler waits for it, and shutdown waits for all of them.
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
        """Run work to its end in the background; a failure is logged. The task keeps the caller's log context."""
        task = self._start(work, name)
        task.add_done_callback(_report)
        return task

    async def run(self, work: Coroutine[Any, Any, T], *, name: str, for_caller: bool = False) -> T:
        """Start work and wait for it; cancelling the waiter does not cancel the work.

        for_caller: nobody else has any use for it, so it is cancelled with its waiter, once, and ends by itself.
        ABORTED if the work itself was cancelled: its caller is to hear of it.
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
        """Wait until all tasks have ended, at most timeout seconds; the names of those still running."""
        pending = set(self._tasks)
        if pending:
            _, pending = await asyncio.wait(pending, timeout=timeout)
        return sorted(task.get_name() for task in pending)


def _is_cancelled() -> bool:
    """Whether the current task itself is to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _report(task: asyncio.Task[Any]) -> None:
    """Nobody waits for a background task: its failure must not go unseen."""
    if not task.cancelled() and task.exception() is not None:
        log.error("a background task failed", extra={"task": task.get_name()}, exc_info=task.exception())


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Take note of the outcome, so that an abandoned call's failure is not reported as never retrieved."""
    if not task.cancelled():
        task.exception()
