"""Rollback: each step of an operation registers its undo before it acts; an error runs the undos, newest first.

    async with Rollback() as rollback:
        rollback.push("the namespaces", lambda: sandboxes.remove(id))
        await sandboxes.make(...)
        ...
    # leaving without an exception keeps everything

An undo that fails or is cancelled is logged and the others still run. `failed` names what may be left, so that the
operation can keep the record for a later clean-up.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

log = logging.getLogger("crishim.rollback")


class Rollback:
    """The undo steps of one running operation."""

    def __init__(self) -> None:
        self._steps: list[tuple[str, Callable[[], Awaitable[object]]]] = []
        self.failed: list[str] = []

    def push(self, what: str, step: Callable[[], Awaitable[object]]) -> None:
        """Register an undo; `what` names it in the log."""
        self._steps.append((what, step))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        cancelled: asyncio.CancelledError | None = None
        for what, step in reversed(self._steps):
            try:
                await step()
            except (Exception, asyncio.CancelledError) as fault:
                self.failed.append(what)
                log.error("an undo failed", extra={"what": what, "error": str(fault) or type(fault).__name__})
                cancelled = fault if isinstance(fault, asyncio.CancelledError) else cancelled
        if cancelled is not None:
            raise cancelled
