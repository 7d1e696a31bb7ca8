"""One read or one write of a file: aiofiles, in a pool of ours (executors.py), as its own pool would be one for all.

Several operations that belong together are one hop to a thread instead: each of aiofiles' is three (open, it, close).
`async with` is not used: it closes files in asyncio's pool, whichever they were opened in.
"""

import asyncio
import importlib
from collections.abc import Coroutine
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from crishim.linux.executors import SETTLING, Executor, records

T = TypeVar("T")


async def read(path: Path, pool: Executor = records) -> bytes:
    """All of a file. Raises OSError."""
    return await _settled(_read(path, pool))


async def write(path: Path, data: bytes, pool: Executor = records) -> None:
    """Make a file, or empty the one that is there, and write it. Raises OSError."""
    await _settled(_write(path, data, pool))


_loaded: ModuleType | None = None


async def _aiofiles(pool: Executor) -> ModuleType:
    """Imported when it is first used, in a thread: it takes 10 ms, which a start does without.

    sys.modules has it from the first of these ms on, when nothing is in it yet: import_module waits for the rest.
    """
    global _loaded
    if _loaded is None:
        _loaded = await pool(importlib.import_module, "aiofiles")
    return _loaded


async def _read(path: Path, pool: Executor) -> bytes:
    file = await (await _aiofiles(pool)).open(path, "rb", executor=pool)
    try:
        data: bytes = await file.read()
        return data
    finally:
        await file.close()


async def _write(path: Path, data: bytes, pool: Executor) -> None:
    file = await (await _aiofiles(pool)).open(path, "wb", executor=pool)
    try:
        await file.write(data)
    finally:
        await file.close()


async def _settled(work: Coroutine[Any, Any, T]) -> T:
    """A cancelled caller waits for what has begun, as in executors.py: a file must not appear behind its rollback."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,), timeout=SETTLING)
        if not task.cancelled() and task.done():
            task.exception()  # its caller has gone
        raise
