"""crishim/cri/stream/tidying.py: nothing that was made for a session lives on after it."""

import asyncio
import contextvars
import gc
import sys
import weakref

import pytest

from crishim.cri.stream import tidying
from crishim.cri.stream.tidying import Tidying
from tests.fakes.stream_sessions import eventually

WHOSE: contextvars.ContextVar[object] = contextvars.ContextVar("whose")


class Session:
    pass


async def test_names_that_were_looked_up_are_let_go() -> None:
    """A name that was made for one look-up has nobody but its maker afterwards."""
    name = "".join(["no", "such", "attribute"])
    before = sys.getrefcount(name)
    assert not hasattr(Session, name)
    tidying.empty_caches()
    assert sys.getrefcount(name) == before


async def test_the_task_keeps_nothing_of_who_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while it waits nor when it is done; the next end starts it again."""
    monkeypatch.setattr(tidying, "AFTER", 0.01)
    tidy, session = Tidying(), Session()
    gone = weakref.ref(session)

    async def end(session: Session) -> None:
        WHOSE.set(session)
        tidy.soon()

    for _ in range(2):
        await asyncio.create_task(end(session))
        assert tidy._task is not None
        await eventually(lambda: tidy._task is None)
    await asyncio.create_task(end(session))
    del session
    await asyncio.sleep(0)  # what is being run keeps the task that woke it
    gc.collect()
    assert tidy._task is not None
    assert gone() is None
    await tidy.stop()
    assert tidy._task is None


async def test_an_end_during_the_tidying_is_tidied_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """It came too late for this time: there is another."""
    monkeypatch.setattr(tidying, "AFTER", 0.01)
    tidy, trimmed = Tidying(), list[int]()

    def trim() -> None:
        trimmed.append(len(trimmed))
        if len(trimmed) == 1:
            tidy.soon()

    monkeypatch.setattr(tidying.libc, "trim", trim)
    tidy.soon()
    await eventually(lambda: tidy._task is None)
    assert trimmed == [0, 1]
