"""The gate that makes Synchronize exact: requests share it, a plugin that is being added has it alone.

What a request tells plugins and what it makes visible must be one step to a plugin that comes: either in its set, or
told to it, never neither, never both. A request inside the gate may enter it again, as may the tasks it starts.

Who wants to be alone waits until no request is inside; meanwhile others wait outside, at most `patience` seconds. Then
they go first for as long, and so on: one that hangs holds up the plugin, not the node.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Callable


class _Pass:
    """One request's being inside: how many times it has entered."""

    def __init__(self) -> None:
        self.depth = 0


class Gate:
    def __init__(self, patience: float) -> None:
        """patience: seconds."""
        self._patience = patience
        self._inside: set[_Pass] = set()
        self._alone = False
        self._preferred = 0  # of those who want to be alone, how many keep new requests outside now
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._pass: contextvars.ContextVar[_Pass | None] = contextvars.ContextVar("nri_request", default=None)

    @contextlib.asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Be inside with other requests."""
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
    async def alone(self) -> AsyncIterator[None]:
        """Be inside with nobody else. What is done there must be quick; a request there would wait for itself."""
        while not await self._cleared(preferred=True) and not await self._cleared(preferred=False):
            pass
        try:
            yield
        finally:
            self._leave_alone()
            self._changed()

    async def _cleared(self, *, preferred: bool) -> bool:
        """Wait until nobody is inside, and be there alone; False if it took longer than there is patience."""
        self._preferred += preferred
        try:
            async with asyncio.timeout(self._patience):
                await self._enter(self._let_in_alone, self._leave_alone)
        except TimeoutError:
            return False
        finally:
            self._preferred -= preferred
            self._changed()
        return True

    def _let_in(self, request: _Pass) -> bool:
        if self._alone or self._preferred:
            return False
        self._inside.add(request)
        return True

    def _let_in_alone(self) -> bool:
        if self._inside or self._alone:
            return False
        self._alone = True
        return True

    def _leave_alone(self) -> None:
        self._alone = False

    async def _enter(self, take: Callable[[], bool], undo: Callable[[], None]) -> None:
        """Wait until take() succeeds; undo() if the caller was cancelled just then."""
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
        """Let those in who can enter now."""
        for entry in list(self._waiting):
            take, entered = entry
            if not entered.done() and take():
                self._waiting.remove(entry)
                entered.set_result(None)
