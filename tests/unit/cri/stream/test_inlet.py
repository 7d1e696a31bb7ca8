"""crishim/cri/stream/inlet.py"""

import asyncio

from crishim.cri.stream.inlet import LIMIT, Inlet


async def test_bytes_come_out_in_order_and_end() -> None:
    """What was put is got, then the end, again and again."""
    inlet = Inlet()
    await inlet.put(b"a")
    await inlet.put(b"b")
    inlet.end()
    assert [await inlet.get() for _ in range(4)] == [b"a", b"b", b"", b""]


async def test_a_full_inlet_holds_up_its_writer() -> None:
    """The writer waits at the limit and goes on when a reader made room."""
    inlet = Inlet()
    await inlet.put(bytes(LIMIT))
    writing = asyncio.create_task(inlet.put(b"more"))
    await asyncio.sleep(0)
    assert not writing.done()
    assert len(await inlet.get()) == LIMIT
    await writing
    assert await inlet.get() == b"more"


async def test_a_cancelled_put_has_put_nothing() -> None:
    """So that it can be tried again."""
    inlet = Inlet()
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
    inlet = Inlet(counted.append)
    await inlet.put(b"12345")
    await inlet.get()
    await inlet.put(b"123")
    inlet.discard()
    await inlet.put(b"12")
    assert sum(counted) == 10
    assert await inlet.get() == b""
