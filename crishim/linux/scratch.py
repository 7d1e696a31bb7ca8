"""Removes scratch directories, with retries.

A removal may fail (the disk, no thread can be started) or not begin (its caller is cancelled): it is tried again until
the directory is gone. What a killed daemon left is removed at its next start by the module that made it.
"""

import asyncio
import logging
import shutil
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from crishim.linux.executors import Executor

PAUSES = (0.5, 5.0, 60.0)  # seconds between attempts; after the last it is tried again with the next directory

log = logging.getLogger("crishim.scratch")


class Discarded:
    """Directories that are still to be removed."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._waiting: set[Path] = set()
        self._removals: set[asyncio.Task[object]] = set()
        self._retrying = False

    async def discard(self, *directories: Path) -> None:
        """Remove directories, and those that could not be removed before. Missing ones are fine.

        Continues when the caller is cancelled. A failure is logged and not raised, so that the caller keeps its result.
        """
        self._waiting.update(directories)
        await asyncio.shield(self._own(self._remove()))

    def _own(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        task = asyncio.create_task(work)
        self._removals.add(task)
        task.add_done_callback(self._removals.discard)
        return task

    async def _retry(self) -> None:
        try:
            for pause in PAUSES:
                await asyncio.sleep(pause)
                await self._remove()
                if not self._waiting:
                    break
        finally:
            self._retrying = False

    async def _remove(self) -> None:
        tried = tuple(self._waiting)
        try:
            await self._executor(_remove_trees, tried)
        except (OSError, RuntimeError) as error:
            log.warning("a scratch directory cannot be removed yet", extra={"error": str(error), "count": len(tried)})
            if not self._retrying:
                self._retrying = True
                self._own(self._retry())
        else:
            self._waiting.difference_update(tried)


def _remove_trees(directories: tuple[Path, ...]) -> None:
    """Remove all that can be removed; then raise the last OSError. Blocks."""
    failure: OSError | None = None
    for directory in directories:
        try:
            shutil.rmtree(directory)
        except FileNotFoundError:
            if directory.exists():  # something in it vanished meanwhile
                shutil.rmtree(directory, ignore_errors=True)
        except OSError as error:
            failure = error
    if failure is not None:
        raise failure
