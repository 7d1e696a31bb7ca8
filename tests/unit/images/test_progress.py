"""Copies that stand still, with processes of our own."""

import asyncio
import os
from collections.abc import Callable

import pytest

from crishim.errors import CrishimError, Kind
from crishim.images.progress import Progress


async def work(script: str, started: Callable[[int], None]) -> int:
    process = await asyncio.create_subprocess_exec("sh", "-c", script, stdout=asyncio.subprocess.PIPE)
    started(process.pid)
    try:
        await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.pid


async def test_one_that_gets_on_is_left_alone() -> None:
    """A program that writes now and then runs to its end, past the limit."""
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo x; sleep 0.05; done"
    assert await Progress(0.3).watch(lambda started: work(script, started), "the copy") > 0


async def test_one_that_stands_still_is_ended() -> None:
    """A program that does nothing is ended, and the error has the kubelet's prefix and says what stood still."""
    pids: list[int] = []

    def start(started: Callable[[int], None]) -> "asyncio.Task[int]":
        def note(pid: int) -> None:
            pids.append(pid)
            started(pid)

        return asyncio.ensure_future(work("exec sleep 100", note))

    with pytest.raises(CrishimError, match=r"^RegistryUnavailable: the copy: ") as caught:
        await Progress(0.1).watch(start, "the copy")
    assert caught.value.kind is Kind.UNKNOWN
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


async def test_one_that_waits_for_another_is_left_alone() -> None:
    """While one gets on, another may stand still: it waits for the store's lock."""
    progress = Progress(0.3)
    script = "for i in 1 2 3 4 5 6 7 8 9 10; do echo x; sleep 0.05; done"
    busy = progress.watch(lambda started: work(script, started), "busy")
    waiting = progress.watch(lambda started: work("exec sleep 0.5", started), "waiting")
    assert all(await asyncio.gather(busy, waiting))


async def test_cancelling_ends_the_work() -> None:
    """A caller that leaves takes the work along."""
    ended = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    caller = asyncio.create_task(Progress(100).watch(lambda _: endless(), "it"))
    for _ in range(3):
        await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended.is_set()
