"""Executors: pools that share nothing, daemon threads, and no other way into a thread in the whole product."""

import ast
import asyncio
import contextvars
import gc
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import crishim
from crishim.linux import executors
from crishim.linux.executors import Executor
from tests.support.eventually import eventually

PRODUCT = Path(crishim.__file__).parent
FORBIDDEN = {"to_thread", "run_in_executor", "ThreadPoolExecutor", "set_default_executor"}


def test_every_call_names_its_executor() -> None:
    """asyncio's own pool is one for all: a look-up that hangs in it would stop every other call."""
    found = []
    for path in sorted(PRODUCT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if name in FORBIDDEN:
                found.append(f"{path.relative_to(PRODUCT)}:{node.lineno} {name}")  # type: ignore[attr-defined]
    assert found == []


def test_every_thread_may_be_left_behind() -> None:
    """A thread that is no daemon thread is waited for at the end of the process, for ever if it hangs."""
    found = []
    for path in sorted(PRODUCT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            text = ast.unparse(node) if isinstance(node, ast.Call) else ""
            if text.startswith(("threading.Thread(", "Thread(", "threading.Timer(")) and "daemon=True" not in text:
                found.append(f"{path.relative_to(PRODUCT)}: {text}")
    assert found == []


async def test_result_error_and_context_come_and_go() -> None:
    pool, name = Executor("test", 2), contextvars.ContextVar("name", default="")
    name.set("pod")

    def work(factor: int, *, by: int) -> tuple[int, str]:
        return factor * by, name.get()

    assert await pool(work, 6, by=7) == (42, "pod")
    with pytest.raises(ZeroDivisionError):
        await pool(lambda: 1 // 0)


async def test_threads_are_as_many_as_there_is_work_for_and_kept() -> None:
    pool = Executor("crowd", 3)
    seen = [await pool(threading.get_ident) for _ in range(20)]
    assert len(set(seen)) <= 3  # kept: not one for each
    barrier = threading.Barrier(3)
    await asyncio.wait_for(asyncio.gather(*(pool(barrier.wait) for _ in range(3))), 30)
    free = threading.Event()
    tasks = [asyncio.create_task(pool(free.wait)) for _ in range(8)]
    await asyncio.sleep(0)
    assert sum(t.name.startswith("crowd-") for t in threading.enumerate()) == 3
    free.set()
    assert await asyncio.gather(*tasks) == [True] * 8


async def test_idle_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd's threads do not stay for ever, and who has work next gets a new one."""
    monkeypatch.setattr(executors, "IDLE", 0.01)
    pool, barrier = Executor("gone", 3), threading.Barrier(3)
    await asyncio.gather(*(pool(barrier.wait) for _ in range(3)))
    await eventually(lambda: not [t for t in threading.enumerate() if t.name.startswith("gone-")])
    assert await pool(lambda: "done") == "done"


async def test_a_job_at_the_last_moment_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given to a thread whose time is over already."""
    monkeypatch.setattr(executors, "IDLE", 0)
    pool = Executor("hasty", 2)
    for number in range(500):
        assert await asyncio.wait_for(pool(lambda n: n, number), 30) == number


async def test_the_last_idle_thread_is_the_first_to_get_work() -> None:
    """So that those beyond what a load needs have no work, and end."""
    pool, barrier = Executor("last", 4), threading.Barrier(4)
    await asyncio.gather(*(pool(barrier.wait) for _ in range(4)))
    await eventually(lambda: len(pool._idle) == 4)
    last, seen = pool._idle[-1], []
    for _ in range(20):
        seen.append(await pool(threading.get_ident))
        await eventually(lambda: pool._idle[-1] is last)
    assert len(set(seen)) == 1


async def test_what_hangs_in_one_pool_holds_up_no_other() -> None:
    stuck, free = threading.Event(), Executor("free", 1)
    hung = Executor("hung", 2)
    tasks = [asyncio.create_task(hung(stuck.wait)) for _ in range(6)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(free(lambda: "done"), 30) == "done"
    stuck.set()
    await asyncio.gather(*tasks)


async def test_what_was_cancelled_before_it_began_is_not_done() -> None:
    pool, free = Executor("test", 1), threading.Event()
    done: list[int] = []
    first = asyncio.create_task(pool(free.wait))
    second = asyncio.create_task(pool(done.append, 2))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    free.set()
    assert await first
    await pool(lambda: None)
    assert done == []


async def test_a_cancelled_caller_waits_for_what_has_begun() -> None:
    """Its rollback must not run beside the work; a second cancellation is obeyed at once."""
    pool, begun, free, done = Executor("test", 1), threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        free.wait()
        done.append(True)

    for cancellations in (1, 2):
        begun.clear()
        free.clear()
        done.clear()
        caller = asyncio.create_task(pool(work))
        await asyncio.sleep(0)
        await Executor("other", 1)(begun.wait)
        caller.cancel()
        await asyncio.sleep(0)
        assert not caller.done()
        if cancellations == 1:
            free.set()
        else:
            caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert done == [True] * (cancellations == 1)
        free.set()
        await pool(lambda: None)


def test_the_end_of_the_process_does_not_wait_for_a_thread() -> None:
    text = (
        "import asyncio, threading\nfrom crishim.linux import executors\n"
        "async def main():\n"
        "    asyncio.create_task(executors.kernel(threading.Event().wait))\n"
        "    await executors.records(int)\n"
        "asyncio.run(main())\nprint('ended')"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "ended\n", done.stderr


def test_pools_are_told_apart_by_name() -> None:
    pools = [value for value in vars(executors).values() if isinstance(value, Executor)]
    assert len({p.name for p in pools}) == len(pools) >= 6


async def test_an_idle_thread_keeps_nothing() -> None:
    """Neither the last result nor the error that told it there was nothing to do, with the frames in it."""
    pool = Executor("idle", 2)
    await asyncio.gather(*(pool(time.sleep, 0.01) for _ in range(4)))

    def kept() -> list[object]:
        gc.collect()
        return [each for each in gc.get_objects() if isinstance(each, queue.Empty)]

    await eventually(lambda: not kept())


async def test_a_thread_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its work is the other threads', or fails; later ones are started again, as many as before."""
    pool, free, start = Executor("full", 2), threading.Event(), threading.Thread.start

    def fails(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fails)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="start new thread"):
            await pool(int)
    monkeypatch.setattr(threading.Thread, "start", start)
    first = asyncio.create_task(pool(free.wait))
    await asyncio.sleep(0)
    monkeypatch.setattr(threading.Thread, "start", fails)
    second = asyncio.create_task(pool(int))
    await asyncio.sleep(0)
    free.set()
    assert (await first, await second) == (True, 0)
