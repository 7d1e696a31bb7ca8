"""The bridge to a thread of its own: its results and errors, its ends, and a caller that is cancelled."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from crishim.errors import CrishimError, Kind
from crishim.netdev import netns_executor
from crishim.netdev.netns_executor import NetnsExecutor

ENDED: list[str] = []
EARLIER: list[threading.Thread] = []


class FakeNetns:
    """opened: in order, over all; a path "gone" cannot be."""

    opened: list[tuple[str, Any]] = []  # noqa: RUF012

    def __init__(self, path: str | Path, kept: Any = None) -> None:
        if path == "gone":
            raise FileNotFoundError(2, "No such file or directory", "gone")
        FakeNetns.opened.append((str(path), kept))
        self.path = path

    def close(self) -> None:
        ENDED.append(str(self.path))


@pytest.fixture(autouse=True)
def no_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns_executor, "Netns", FakeNetns)
    FakeNetns.opened.clear()
    ENDED.clear()
    EARLIER[:] = threading.enumerate()


def running() -> list[threading.Thread]:
    """Threads of this test's executors: the one of a test before it may still be on its way out."""
    return [t for t in threading.enumerate() if t.name == "netdev" and t not in EARLIER]


async def test_one_thread_for_all_its_work() -> None:
    """With the same ends, opened once, when there is work; closed in the end, the thread too."""
    where: list[threading.Thread] = []
    kept: Any = object()

    def work(*ends: Any) -> tuple[Any, ...]:
        where.append(threading.current_thread())
        return ends

    executor = NetnsExecutor(("a", "b"), kept)
    assert (running(), FakeNetns.opened) == ([], [])
    first, second = await executor.run(work), await executor.run(work)
    assert first == second
    assert [end.path for end in first] == ["a", "b"]
    assert ENDED == []
    await executor.close()
    assert FakeNetns.opened == [("a", kept), ("b", None)]
    assert ENDED == ["b", "a"]
    assert where[0] is where[1] is not threading.current_thread()
    assert where[0].daemon
    where[0].join(10)
    assert running() == []
    await executor.close()


@pytest.mark.parametrize("fails", [False, True])
async def test_the_last_of_its_work(fails: bool) -> None:
    """Its thread closes the ends and ends, whether it failed or not; what comes later has ends of its own."""
    executor = NetnsExecutor(("a",))
    kept = await executor.run(lambda end: end)

    def work(end: Any) -> str:
        assert (end, ENDED) == (kept, [])
        return str(1 // (not fails))

    if fails:
        with pytest.raises(ZeroDivisionError):
            await executor.run(work, last=True)
    else:
        assert await executor.run(work, last=True) == "1"
    for thread in running():
        thread.join(10)
    assert ENDED == ["a"]
    await executor.close()
    assert await executor.run(lambda end: end is kept, last=True) is False
    for thread in running():
        thread.join(10)
    assert ENDED == ["a", "a"]


async def test_nothing_to_do() -> None:
    """No thread is started."""
    await NetnsExecutor(("a",)).close()
    assert running() == []
    assert FakeNetns.opened == []


async def test_errors() -> None:
    """As they are, but for the kernel's refusals, which are told with the file, where there is one; then it goes on."""
    executor = NetnsExecutor(("a",))
    with pytest.raises(ZeroDivisionError):
        await executor.run(lambda _: 1 / 0)
    for error, said in (
        (OSError(1, "not permitted"), "the kernel refused work on network devices: not permitted"),
        (OSError(1, "not permitted", "/x"), "the kernel refused work on network devices: /x: not permitted"),
    ):

        def refuse(_: Any, error: OSError = error) -> None:
            raise error

        with pytest.raises(CrishimError) as caught:
            await executor.run(refuse)
        assert (str(caught.value), caught.value.kind) == (said, Kind.INTERNAL)
    assert await executor.run(lambda end: end.path) == "a"
    await executor.close()


async def test_a_namespace_that_is_gone() -> None:
    """What was opened before it is closed in the end, and opened once."""
    executor = NetnsExecutor(("a", "gone"))
    for _ in range(2):
        with pytest.raises(CrishimError, match="gone: No such file"):
            await executor.run(lambda *_: None)
    await executor.close()
    assert FakeNetns.opened == [("a", None)]
    assert ENDED == ["a"]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancelled_caller_waits(fails: bool) -> None:
    """Half a move must not go on behind its back: the cancellation comes when the thread is done."""
    begun, go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    ended: list[Any] = []

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        go.wait(10)
        ended.append(True)
        if fails:
            raise OSError("no")

    executor = NetnsExecutor(())
    task = asyncio.create_task(executor.run(work))
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
    await executor.close()


async def test_closing_twice() -> None:
    """And without any work: nothing is handed to a thread that is not there."""
    executor = NetnsExecutor(("a",))
    async with asyncio.timeout(10):
        await executor.close()
        await executor.run(lambda *_: None)
        await executor.close()
        assert not executor._started
        await executor.close()
    assert ENDED == ["a"]
