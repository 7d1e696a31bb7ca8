"""Asynchronous read or write of a whole file: aiofiles in one of our pools (executors.py), not asyncio's shared one.

Several operations that belong together are one call in a thread instead: aiofiles makes three (open, the operation,
close). `async with` is not used: it closes files in asyncio's pool, whichever they were opened in.
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
    """Create or truncate a file, and write it. Raises OSError."""
    await _settled(_write(path, data, pool))


_loaded: ModuleType | None = None


async def _aiofiles(pool: Executor) -> ModuleType:
    """Imported when first used, in a thread: it takes 10 ms, which the start of the daemon saves.

    import_module() is called even if sys.modules has it: it waits for an import under way in another thread.
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
    """A cancelled caller waits for what has begun, as in executors.py: no file must appear after its rollback."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,), timeout=SETTLING)
        if not task.cancelled() and task.done():
            task.exception()  # mark it as retrieved
        raise
