"""Rollback."""

import asyncio
import logging

import pytest

from crishim.operations.rollback import Rollback


def step(done: list[str], name: str, fails: bool = False):  # type: ignore[no-untyped-def]
    async def work() -> None:
        done.append(name)
        if fails:
            raise ValueError(f"{name} cannot be undone")

    return work


async def test_success_keeps_everything() -> None:
    """Leaving without an exception undoes nothing."""
    done: list[str] = []
    async with Rollback() as rollback:
        rollback.push("one", step(done, "one"))
    assert (done, rollback.failed) == ([], [])


async def test_failure_undoes_newest_first() -> None:
    """The exception goes on after all steps were undone."""
    done: list[str] = []
    with pytest.raises(KeyError):  # noqa: PT012
        async with Rollback() as rollback:
            for name in ("one", "two", "three"):
                rollback.push(name, step(done, name))
            raise KeyError
    assert done == ["three", "two", "one"]


async def test_an_undo_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged by name, the others still run, the first exception stays, and the operation can tell."""
    done: list[str] = []
    rollback = Rollback()
    with caplog.at_level(logging.ERROR), pytest.raises(KeyError):  # noqa: PT012
        async with rollback:
            for name in ("one", "two", "three"):
                rollback.push(name, step(done, name, fails=name == "two"))
            raise KeyError
    assert (done, rollback.failed) == (["three", "two", "one"], ["two"])
    (line,) = caplog.records
    assert (line.what, line.error) == ("two", "two cannot be undone")  # type: ignore[attr-defined]


async def test_cancellation_undoes() -> None:
    """A cancelled operation is undone like a failed one."""
    done: list[str] = []

    async def operation() -> None:
        async with Rollback() as rollback:
            rollback.push("one", step(done, "one"))
            await asyncio.sleep(60)

    task = asyncio.create_task(operation())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["one"]


async def test_an_undo_that_is_cancelled() -> None:
    """The others still run, what it left is known of, and the task ends as cancelled."""
    done: list[str] = []
    waiting = asyncio.Event()

    async def wait() -> None:
        waiting.set()
        await asyncio.sleep(60)

    rollback = Rollback()

    async def work() -> None:
        async with rollback:
            rollback.push("one", step(done, "one"))
            rollback.push("two", wait)
            raise ValueError("a step failed")

    task = asyncio.create_task(work())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (done, rollback.failed) == (["one"], ["two"])
