"""crishim/cri/stream/limits.py and fair_scheduler.py"""

import asyncio
import contextlib
import resource

import pytest

from crishim.cri.stream.fair_scheduler import ITERATION, SLICE, Budget, FairScheduler
from crishim.cri.stream.limits import EXEC, LimitExceeded, Limits, Quota
from crishim.cri.stream.remotecommand.protocol import StreamOptions
from crishim.cri.stream.requests import ExecStream, PortForwardStream
from crishim.model import ExecSpec


def test_one_target_has_a_quarter() -> None:
    """What one uses up is 429 and leaves room for the others; all of it used up is 503; what is given back is free."""
    quota = Quota("things", 8)
    with contextlib.ExitStack() as held:
        for _ in range(2):
            held.enter_context(quota.hold("a"))
        with pytest.raises(LimitExceeded, match="a uses all 2 things") as caught, quota.hold("a"):
            pass
        assert caught.value.status == 429
        for target in "bcd":
            held.enter_context(quota.hold(target, 2))
        with pytest.raises(LimitExceeded, match="all 8 things are in use") as caught, quota.hold("e"):
            pass
        assert caught.value.status == 503
    with quota.hold("a", 2):
        assert quota.used == 2
    assert quota.used == 0
    assert quota._targets == {}


def test_half_of_the_descriptors_are_for_everything_else() -> None:
    """Sessions, what they hold, and pending connections never take more than half of what there is."""
    limits = Limits(sessions=1_000_000)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
    sessions = 0
    with contextlib.ExitStack() as held, contextlib.suppress(LimitExceeded):
        while True:
            request = ExecStream(f"c{sessions % 100}", ExecSpec(argv=("x",)), StreamOptions(True, True, True, False))
            held.enter_context(limits.session(request))
            sessions += 1
    assert 0 < sessions * EXEC + limits.pending <= most


def test_a_session_that_finds_no_descriptors_takes_no_place() -> None:
    """Either there is room for all it needs, or it holds nothing."""
    limits = Limits(sessions=8, descriptors=8)
    request = ExecStream("c", ExecSpec(argv=("x",)), StreamOptions(True, True, True, False))
    for _ in range(20):
        with pytest.raises(LimitExceeded, match="descriptors"), limits.session(request):
            pass
    with limits.session(PortForwardStream("p", ())), pytest.raises(LimitExceeded), limits.forward("p"):
        pass
    assert limits._sessions.used == limits._descriptors.used == 0


async def test_a_turn_of_the_loop_has_so_many_units() -> None:
    """A hundred connections with endless work: between two turns of the loop they do no more than one turn's worth."""
    scheduler, done = FairScheduler(), 0

    async def work() -> None:
        nonlocal done
        budget = Budget(scheduler)
        while True:
            await budget.spend()
            done += 1

    tasks = [asyncio.create_task(work()) for _ in range(100)]
    turns: list[int] = []
    for _ in range(300):
        before = done
        await asyncio.sleep(0)
        turns.append(done - before)
    assert max(turns) <= ITERATION + SLICE
    assert done > 100 * ITERATION
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_whoever_waits_is_served_in_order() -> None:
    """A connection that has just come waits for one slice of each of the others, however much they want to do."""
    scheduler, done = FairScheduler(), [0] * 50

    async def work(number: int) -> None:
        budget = Budget(scheduler)
        while True:
            await budget.spend()
            done[number] += 1

    tasks = [asyncio.create_task(work(n)) for n in range(50)]
    for _ in range(200):
        await asyncio.sleep(0)
    before = sum(done)
    await Budget(scheduler).spend()
    assert sum(done) - before <= 50 * SLICE + 2 * ITERATION
    assert max(done) - min(done) <= ITERATION + 2 * SLICE  # the first had a turn to itself
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_connection_that_gave_up_waiting_keeps_nobody_waiting() -> None:
    """A cancelled one is passed over."""
    scheduler = FairScheduler()
    budgets = [Budget(scheduler) for _ in range(100)]
    waiting = [asyncio.create_task(budget.spend()) for budget in budgets]
    await asyncio.sleep(0)
    for task in waiting[:90]:
        task.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting[90:])
