"""A shared/exclusive lock that makes Synchronize exact: requests share it, adding a plugin takes it exclusively.

A new plugin must get each pod or container exactly once: in its Synchronize, or by an event. So a request holds the
gate from its event until the object is visible. It may enter the gate again inside, as may the tasks it starts.

exclusive() waits until no request is inside. Meanwhile new requests wait, at most `patience` seconds; then they enter
first for as long, and so on: a request that hangs delays the plugin, not the node.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Callable


class _Pass:
    """How many times one request is inside."""

    def __init__(self) -> None:
        self.depth = 0


class Gate:
    def __init__(self, patience: float) -> None:
        """patience: seconds."""
        self._patience = patience
        self._inside: set[_Pass] = set()
        self._exclusive = False
        self._preferred = 0  # how many calls of exclusive() keep new requests waiting now
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._pass: contextvars.ContextVar[_Pass | None] = contextvars.ContextVar("nri_request", default=None)

    @contextlib.asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Enter together with other requests."""
        before = self._pass.get()
        mine = before if before and before.depth else _Pass()
        if mine is not before:
            await self._enter(lambda: self._let_in(mine), lambda: self._inside.discard(mine))
        self._pass.set(mine)
        mine.depth += 1
        try:
            yield
        finally:
            mine.depth -= 1
            self._pass.set(before)
            if not mine.depth:
                self._inside.discard(mine)
                self._changed()

    @contextlib.asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Enter exclusively. Keep it short; a shared() inside would deadlock."""
        while not await self._cleared(preferred=True) and not await self._cleared(preferred=False):
            pass
        try:
            yield
        finally:
            self._leave_exclusive()
            self._changed()

    async def _cleared(self, *, preferred: bool) -> bool:
        """Wait until no request is inside, and enter exclusively; False after `patience` seconds."""
        self._preferred += preferred
        try:
            async with asyncio.timeout(self._patience):
                await self._enter(self._let_in_exclusive, self._leave_exclusive)
        except TimeoutError:
            return False
        finally:
            self._preferred -= preferred
            self._changed()
        return True

    def _let_in(self, request: _Pass) -> bool:
        if self._exclusive or self._preferred:
            return False
        self._inside.add(request)
        return True

    def _let_in_exclusive(self) -> bool:
        if self._inside or self._exclusive:
            return False
        self._exclusive = True
        return True

    def _leave_exclusive(self) -> None:
        self._exclusive = False

    async def _enter(self, take: Callable[[], bool], undo: Callable[[], None]) -> None:
        """Wait until take() succeeds; undo() if the caller is cancelled after that."""
        if take():
            return
        entry = (take, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        try:
            await entry[1]
        except asyncio.CancelledError:
            if entry in self._waiting:
                self._waiting.remove(entry)
            else:
                undo()
                self._changed()
            raise

    def _changed(self) -> None:
        """Wake those that can enter now."""
        for entry in list(self._waiting):
            take, entered = entry
            if not entered.done() and take():
                self._waiting.remove(entry)
                entered.set_result(None)
