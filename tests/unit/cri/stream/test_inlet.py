"""crishim/cri/stream/inlet.py"""

import asyncio

from crishim.cri.stream.inlet import CONNECTION_LIMIT, LIMIT, Inlet, Intake


async def test_bytes_come_out_in_order_and_end() -> None:
    """What was put is got, then the end, again and again."""
    inlet = Inlet(Intake())
    await inlet.put(b"a")
    await inlet.put(b"b")
    inlet.end()
    assert [await inlet.get() for _ in range(4)] == [b"a", b"b", b"", b""]


async def test_a_full_inlet_holds_up_its_writer() -> None:
    """The writer waits at the limit and goes on when a reader made room."""
    inlet = Inlet(Intake())
    await inlet.put(bytes(LIMIT))
    writing = asyncio.create_task(inlet.put(b"more"))
    await asyncio.sleep(0)
    assert not writing.done()
    assert len(await inlet.get()) == LIMIT
    await writing
    assert await inlet.get() == b"more"


async def test_a_cancelled_put_has_put_nothing() -> None:
    """So that it can be tried again."""
    inlet = Inlet(Intake())
    await inlet.put(bytes(LIMIT))
    writing = asyncio.create_task(inlet.put(b"lost?"))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await inlet.get()
    inlet.end()
    assert await inlet.get() == b""


async def test_what_is_used_up_is_counted() -> None:
    """Got, discarded, or dropped on arrival: every byte is reported once, so that a window opens again."""
    counted = []
    inlet = Inlet(Intake(), counted.append)
    await inlet.put(b"12345")
    await inlet.get()
    await inlet.put(b"123")
    inlet.discard()
    await inlet.put(b"12")
    assert sum(counted) == 10
    assert await inlet.get() == b""


async def test_a_connection_has_a_limit_of_its_own() -> None:
    """Many streams together hold no more than one connection may; room in any of them is room for all."""
    intake = Intake()
    inlets = [Inlet(intake) for _ in range(100)]
    taken = [inlet for inlet in inlets if inlet.offer(bytes(10_000))]
    assert 0 < len(taken) <= CONNECTION_LIMIT // 10_000 + 1
    putting = asyncio.create_task(inlets[-1].put(b"x"))
    await asyncio.sleep(0)
    assert not putting.done()
    for inlet in taken:
        inlet.discard()
    await putting
    assert await inlets[-1].get() == b"x"
    assert intake.size == 0


async def test_small_chunks_count_for_what_they_cost() -> None:
    """A chunk of one byte occupies far more than one."""
    inlet, count = Inlet(Intake()), 0
    while inlet.offer(b"x"):
        count += 1
    assert count < LIMIT // 60
