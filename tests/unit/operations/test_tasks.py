"""Verbs as tasks that nobody's deadline ends."""

import asyncio
import logging

import pytest

from crishim.errors import CrishimError
from crishim.operations import log_context
from crishim.operations.tasks import Tasks


async def test_a_result_and_a_failure_reach_the_caller() -> None:
    """As if the work had been awaited."""

    async def fine() -> int:
        return 5

    async def broken() -> None:
        raise KeyError("x")

    tasks = Tasks()
    assert await tasks.run(fine(), name="fine") == 5
    with pytest.raises(KeyError):
        await tasks.run(broken(), name="broken")
    assert await tasks.drain(1) == []


async def test_a_cancelled_caller_does_not_end_the_work() -> None:
    """The work goes on, and the shutdown waits for it; its failure then is nobody's, and no noise."""
    tasks, gate, done = Tasks(), asyncio.Event(), []

    async def work() -> None:
        await gate.wait()
        done.append(True)
        raise KeyError

    caller = asyncio.create_task(tasks.run(work(), name="work"))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await tasks.drain(0.01) == ["work"]
    gate.set()
    assert await tasks.drain(5) == []
    assert done == [True]


async def test_work_that_is_cancelled_itself_is_an_error_of_its_caller() -> None:
    """Not a cancellation of the caller: the RPC would never be answered."""
    tasks = Tasks()

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(10)

    with pytest.raises(CrishimError, match="work was given up"):
        await tasks.run(work(), name="work")


async def test_a_background_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for it, so the log has it, by name."""

    async def broken() -> None:
        raise KeyError("x")

    tasks = Tasks()
    with caplog.at_level(logging.ERROR):
        tasks.start(broken(), name="exit 1234")
        await tasks.drain(1)
        await asyncio.sleep(0)
    (line,) = caplog.records
    assert line.task == "exit 1234"  # type: ignore[attr-defined]


async def test_log_contexts() -> None:
    """What a call is about is shared with its task, so an id found there is in the caller's lines; a new one is not."""
    tasks = Tasks()

    async def work() -> None:
        log_context.about(pod="p")

    async def other() -> None:
        log_context.begin(container="c")
        assert log_context.current() == {"container": "c"}

    assert log_context.current() == {}
    log_context.begin(rpc="Run")
    await tasks.run(work(), name="work")
    await tasks.run(other(), name="other")
    assert log_context.current() == {"rpc": "Run", "pod": "p"}
    log_context.begin(rpc="Next")
    assert log_context.current() == {"rpc": "Next"}
