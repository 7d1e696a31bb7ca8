"""crishim/linux/pipes.py"""

import asyncio
import os

from crishim.linux.pipes import ReadEnd, WriteEnd


def pipe() -> tuple[ReadEnd, WriteEnd]:
    receive, send = os.pipe()
    return ReadEnd(receive), WriteEnd(send)


async def test_bytes_pass_and_end() -> None:
    """More than the pipe holds passes, in order, and then comes the end."""
    reader, writer = pipe()
    data = os.urandom(500_000)

    async def write() -> None:
        assert await writer.write(data)
        writer.close()

    writing = asyncio.create_task(write())
    got = b""
    while part := await reader.read(10_000):
        got += part
    await writing
    assert got == data
    reader.close()
    assert await reader.read() == b""


async def test_a_full_pipe_holds_up_its_writer() -> None:
    """write() waits until somebody reads."""
    reader, writer = pipe()
    writing = asyncio.create_task(writer.write(bytes(200_000)))
    await asyncio.sleep(0.02)
    assert not writing.done()
    reader.close()
    assert not await writing  # nobody will read it
    writer.close()


async def test_draining_does_not_wait_for_a_writer_that_stays() -> None:
    """After drain() the end is where nothing is left, even for a reader that waits already."""
    reader, writer = pipe()
    await writer.write(b"last words")
    reader.drain()
    assert [await reader.read(), await reader.read()] == [b"last words", b""]
    other, held = pipe()
    reading = asyncio.create_task(other.read())
    await asyncio.sleep(0)
    assert other.starved
    other.drain()
    assert await reading == b""
    for end in (reader, writer, other, held):
        end.close()


async def test_draining_can_wait_for_stragglers() -> None:
    """With a quiet time, what comes within it still counts."""
    reader, writer = pipe()
    reader.drain(quiet=5)
    reading = asyncio.create_task(reader.read())
    await asyncio.sleep(0.02)
    await writer.write(b"late")
    assert await reading == b"late"
    reader.drain(quiet=0.01)
    assert await reader.read() == b""
    reader.close()
    writer.close()


async def test_a_terminal_that_hung_up_is_an_end() -> None:
    """Reading a terminal whose other side is closed gives the end, not an error; writing says that nobody reads."""
    master, slave = os.openpty()
    os.write(slave, b"x")
    reader, writer = ReadEnd(os.dup(master)), WriteEnd(master)
    os.close(slave)
    assert [await reader.read(), await reader.read()] == [b"x", b""]
    reader.close()
    writer.close()


async def test_closing_wakes_those_who_wait() -> None:
    """A reader and a writer that wait when their end is closed come back."""
    reader, writer = pipe()
    reading = asyncio.create_task(reader.read())
    await asyncio.sleep(0)
    reader.close()
    assert await reading == b""
    writer.close()
    receive, send = os.pipe()
    stuck = WriteEnd(send)
    writing = asyncio.create_task(stuck.write(bytes(200_000)))
    await asyncio.sleep(0.02)
    stuck.close()
    assert not await writing
    os.close(receive)
