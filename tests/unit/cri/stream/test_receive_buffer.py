"""crishim/cri/stream/receive_buffer.py"""

import asyncio

from crishim.cri.stream.receive_buffer import CONNECTION_LIMIT, LIMIT, ReceiveBuffer, ReceivedBytes


async def test_bytes_come_out_in_order_and_end() -> None:
    """What was put is got, then the end, again and again."""
    buffer = ReceiveBuffer(ReceivedBytes())
    await buffer.put(b"a")
    await buffer.put(b"b")
    buffer.end()
    assert [await buffer.get() for _ in range(4)] == [b"a", b"b", b"", b""]


async def test_a_full_buffer_holds_up_its_writer() -> None:
    """The writer waits at the limit and goes on when a reader made room."""
    buffer = ReceiveBuffer(ReceivedBytes())
    await buffer.put(bytes(LIMIT))
    writing = asyncio.create_task(buffer.put(b"more"))
    await asyncio.sleep(0)
    assert not writing.done()
    assert len(await buffer.get()) == LIMIT
    await writing
    assert await buffer.get() == b"more"


async def test_a_cancelled_put_has_put_nothing() -> None:
    """So that it can be tried again."""
    buffer = ReceiveBuffer(ReceivedBytes())
    await buffer.put(bytes(LIMIT))
    writing = asyncio.create_task(buffer.put(b"lost?"))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await buffer.get()
    buffer.end()
    assert await buffer.get() == b""


async def test_what_is_used_up_is_counted() -> None:
    """Got, discarded, or dropped on arrival: every byte is reported once, so that a window opens again."""
    counted: list[int] = []
    buffer = ReceiveBuffer(ReceivedBytes(), counted.append)
    await buffer.put(b"12345")
    await buffer.get()
    await buffer.put(b"123")
    buffer.discard()
    await buffer.put(b"12")
    assert sum(counted) == 10
    assert await buffer.get() == b""


async def test_a_connection_has_a_limit_of_its_own() -> None:
    """Many streams together hold no more than one connection may; room in any of them is room for all."""
    received = ReceivedBytes()
    buffers = [ReceiveBuffer(received) for _ in range(100)]
    taken = [buffer for buffer in buffers if buffer.offer(bytes(10_000))]
    assert 0 < len(taken) <= CONNECTION_LIMIT // 10_000 + 1
    putting = asyncio.create_task(buffers[-1].put(b"x"))
    await asyncio.sleep(0)
    assert not putting.done()
    for buffer in taken:
        buffer.discard()
    await putting
    assert await buffers[-1].get() == b"x"
    assert received.size == 0


async def test_small_chunks_count_for_what_they_cost() -> None:
    """A chunk of one byte occupies far more than one."""
    buffer, count = ReceiveBuffer(ReceivedBytes()), 0
    while buffer.offer(b"x"):
        count += 1
    assert count < LIMIT // 60
