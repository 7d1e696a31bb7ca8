"""crishim/engine/exec/limits.py: who may run a command, and how much of its output is kept."""

import asyncio
import contextlib

import pytest

from crishim.engine.exec import limits
from crishim.engine.exec.limits import ExecLimits
from crishim.errors import CrishimError, Kind


async def test_one_container_leaves_slots_to_the_others() -> None:
    """It waits at its own part; another container's command runs at once."""
    exec_limits = ExecLimits(slots=8, container_slots=2)
    async with exec_limits.slot("a" * 64, 0), exec_limits.slot("a" * 64, 0):
        with pytest.raises(CrishimError, match=r"container a{13} runs 2 commands already: .* within 0\.01 s") as error:
            async with exec_limits.slot("a" * 64, 0.01):
                pass
        assert error.value.kind is Kind.EXHAUSTED
        async with exec_limits.slot("b" * 64, 0.01):
            pass
    async with exec_limits.slot("a" * 64, 0.01):
        pass


async def test_all_slots_taken() -> None:
    """The error says that it is the others."""
    exec_limits = ExecLimits(slots=4, container_slots=9)
    assert exec_limits.container_slots == 1
    async with contextlib.AsyncExitStack() as held:
        for name in "abcd":
            await held.enter_async_context(exec_limits.slot(name * 64, 0))
        with pytest.raises(CrishimError, match=r"container e{13} and others run 4 commands already"):
            async with exec_limits.slot("e" * 64, 0.01):
                pass


async def test_who_waits_comes_in_order() -> None:
    """First come, first served, also after one of those that wait was cancelled."""
    exec_limits = ExecLimits(slots=8, container_slots=1)
    order: list[int] = []

    async def command(number: int) -> None:
        async with exec_limits.slot("a", 0):
            order.append(number)
            await asyncio.sleep(0)

    async with exec_limits.slot("a", 0):
        tasks = [asyncio.create_task(command(n)) for n in range(5)]
        await asyncio.sleep(0)
        tasks[1].cancel()
    await asyncio.wait(tasks)
    assert order == [0, 2, 3, 4]


async def test_no_more_wait_than_may() -> None:
    """What comes beyond is refused at once; nothing is kept of a container without calls."""
    exec_limits = ExecLimits(slots=8, container_slots=1, container_queue=2)
    async with exec_limits.slot("a", 0):
        waiting = [asyncio.create_task(exec_limits.slot("a", 60).__aenter__()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(CrishimError, match="runs 1 commands already, and 2 wait"):
            async with exec_limits.slot("a", 60):
                pass
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
    assert not exec_limits._containers


async def test_output_is_kept_up_to_the_container_s_part_and_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all its commands together; given back with the slot."""
    monkeypatch.setattr(limits, "OUTPUT", 100)
    monkeypatch.setattr(limits, "CONTAINER_OUTPUT", 70)
    exec_limits = ExecLimits(slots=8)
    async with exec_limits.slot("a", 0) as one, exec_limits.slot("a", 0) as two, exec_limits.slot("b", 0) as other:
        assert [one.reserve(50), two.reserve(50), two.reserve(1), other.reserve(50), other.reserve(0)] == [
            50,
            20,
            0,
            30,
            0,
        ]
        assert exec_limits.output == 100
    assert exec_limits.output == 0
    async with exec_limits.slot("a", 0) as one:
        assert one.reserve(99) == 70
