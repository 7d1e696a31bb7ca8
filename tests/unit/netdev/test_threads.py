"""The bridge to a thread of its own: its result, its error, and a caller that is cancelled."""

import asyncio
import threading
from typing import Any

import pytest

from crishim.netdev import threads
from crishim.netdev.threads import across


@pytest.fixture(autouse=True)
def no_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "in_namespaces", lambda paths, work, kept: work(*paths))


async def test_its_result_and_its_error() -> None:
    where: list[threading.Thread] = []

    def work(path: str) -> str:
        where.append(threading.current_thread())
        return path

    assert await across(("a",), work) == "a"
    assert where[0] is not threading.current_thread()
    assert where[0].daemon
    with pytest.raises(ZeroDivisionError):
        await across((), lambda: 1 / 0)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancelled_caller_waits(fails: bool) -> None:
    """Half a move must not go on behind its back: the cancellation comes when the thread has ended."""
    begun, go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    ended: list[Any] = []

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        go.wait(10)
        ended.append(True)
        if fails:
            raise OSError("no")

    task = asyncio.create_task(across((), work))
    await begun.wait()
    for _ in range(2):
        task.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]
