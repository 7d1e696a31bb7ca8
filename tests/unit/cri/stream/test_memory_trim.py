"""crishim/cri/stream/memory_trim.py: nothing that was made for a session lives on after it."""

import asyncio
import contextvars
import gc
import sys
import weakref
from types import SimpleNamespace

import pytest

from crishim.cri.stream import allocator_gaps, memory_trim
from crishim.cri.stream.memory_trim import MemoryTrimmer
from crishim.linux import libc
from tests.support.eventually import eventually

WHOSE: contextvars.ContextVar[object] = contextvars.ContextVar("whose")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator_gaps, "PAUSE", 0)


class Holder:
    pass


async def test_names_that_were_looked_up_are_let_go() -> None:
    """A name that was made for one look-up has nobody but its maker afterwards."""
    name = "".join(["no", "such", "attribute"])
    before = sys.getrefcount(name)
    assert not hasattr(Holder, name)
    memory_trim.empty_caches()
    assert sys.getrefcount(name) == before


async def test_the_task_keeps_nothing_of_who_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while it waits nor when it is done; the next end starts it again."""
    monkeypatch.setattr(memory_trim, "AFTER", 0.01)
    trimmer, session = MemoryTrimmer(), Holder()
    gone = weakref.ref(session)

    async def end(session: Holder) -> None:
        WHOSE.set(session)
        trimmer.soon()

    for _ in range(2):
        await asyncio.create_task(end(session))
        assert trimmer._task is not None
        await eventually(lambda: trimmer._task is None)
    await asyncio.create_task(end(session))
    del session
    await asyncio.sleep(0)  # what is being run keeps the task that woke it
    gc.collect()
    assert trimmer._task is not None
    assert gone() is None
    await trimmer.stop()
    assert trimmer._task is None


async def test_an_end_during_a_trim_has_another_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """It came too late for this time: there is another."""
    monkeypatch.setattr(memory_trim, "AFTER", 0.01)
    trimmer, trimmed = MemoryTrimmer(), list[int]()

    def trim() -> None:
        trimmed.append(len(trimmed))
        if len(trimmed) == 1:
            trimmer.soon()

    monkeypatch.setattr(libc, "trim", trim)
    trimmer.soon()
    await eventually(lambda: trimmer._task is None)
    assert trimmed == [0, 1]


@pytest.mark.parametrize(("ends", "seen"), [(3, 3), (1000, memory_trim.ROUNDS)])
async def test_ends_one_after_the_other_are_trimmed_together(
    monkeypatch: pytest.MonkeyPatch, ends: int, seen: int
) -> None:
    """Once, when it is quiet; but a node on which sessions end all the time is tidied, too."""
    trimmer, trimmed, left = MemoryTrimmer(), list[int](), list(range(ends))

    async def sleep(_: float) -> None:
        """Another session ends while it waits, if there is one."""
        if left:
            left.pop()
            trimmer.soon()

    monkeypatch.setattr(memory_trim, "asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": sleep}))
    monkeypatch.setattr(libc, "trim", lambda: trimmed.append(ends - len(left)))
    trimmer.soon()
    await eventually(lambda: trimmed)
    await trimmer.stop()
    assert trimmed == [seen]


async def test_the_listeners_waiting_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In each round of the filling."""
    renewed = list[int]()
    monkeypatch.setattr(memory_trim, "AFTER", 0)
    trimmer = MemoryTrimmer(lambda: renewed.append(1))
    trimmer.soon()
    await eventually(lambda: trimmer._task is None)
    assert len(renewed) == allocator_gaps.ROUNDS
