"""Files by aiofiles, in our pools."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from crishim.linux import async_files
from crishim.linux.executors import Executor
from tests.support.eventually import eventually


async def test_what_is_written_is_read(tmp_path: Path) -> None:
    """All of it; an older and longer file is gone."""
    path = tmp_path / "f"
    for data in (os.urandom(1 << 20), b"", b"\0short"):
        await async_files.write(path, data)
        assert await async_files.read(path) == data


async def test_errors_are_the_kernels(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await async_files.read(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        await async_files.write(tmp_path, b"")


async def test_it_is_done_in_the_pool_that_is_given(tmp_path: Path) -> None:
    """asyncio's own pool is not made; a pool that is busy does not hold up another."""
    busy, free = Executor("busy", 1), Executor("free", 1)
    over = threading.Event()
    held = asyncio.ensure_future(busy(over.wait))
    waiting = asyncio.ensure_future(async_files.write(tmp_path / "later", b"1", busy))
    await async_files.write(tmp_path / "now", b"2", free)
    assert not (tmp_path / "later").exists()
    over.set()
    await asyncio.gather(held, waiting)
    assert (tmp_path / "later").read_bytes() == b"1"
    assert vars(asyncio.get_running_loop())["_default_executor"] is None
    assert not [t.name for t in threading.enumerate() if t.name.startswith("asyncio")]


async def test_a_cancelled_write_is_over_when_its_caller_hears_of_it(tmp_path: Path) -> None:
    """No file appears behind a rollback's back: the one that has begun is waited for."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    before = len(os.listdir("/proc/self/fd"))
    pool = Executor("one", 1)
    writing = asyncio.create_task(async_files.write(fifo, b"data", pool))
    await eventually(lambda: pool._threads and not pool._jobs)  # its thread is in open(), which waits for a reader
    writing.cancel()
    done, _ = await asyncio.wait([writing], timeout=0.05)
    assert not done
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert os.read(reader, 10) == b"data"
    os.close(reader)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_what_is_submitted_and_given_up_before_it_began_is_not_done() -> None:
    pool, over = Executor("one", 1), threading.Event()
    done: list[int] = []
    first = pool.submit(over.wait)
    second, third = pool.submit(done.append, 2), pool.submit(done.append, 3)
    assert second.cancel()
    over.set()
    await asyncio.wrap_future(first)
    await asyncio.wrap_future(third)
    assert done == [3]
    failing = pool.submit(os.stat, "/nowhere/at/all")
    with pytest.raises(FileNotFoundError):
        await asyncio.wrap_future(failing)


FIRST_USE = """
import asyncio, sys
from pathlib import Path
from crishim.linux import async_files

async def main():
    first = asyncio.create_task(async_files.read(Path("/proc/self/stat")))
    while "aiofiles" not in sys.modules:
        await asyncio.sleep(0)
    assert await async_files.read(Path("/proc/self/stat"))
    assert await first

asyncio.run(main())
"""


def test_two_first_uses_at_once() -> None:
    """The second comes while the first imports: it waits until that is done."""
    done = subprocess.run([sys.executable, "-c", FIRST_USE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
