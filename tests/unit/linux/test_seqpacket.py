"""crishim/linux/seqpacket.py"""

import asyncio
import socket

from crishim.linux.seqpacket import SeqpacketSocket


def pair() -> tuple[SeqpacketSocket, SeqpacketSocket]:
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
    return SeqpacketSocket(ends[0]), SeqpacketSocket(ends[1])


async def test_packets_keep_their_bounds() -> None:
    """Two sends are two receives, and the end of one direction leaves the other open."""
    one, two = pair()
    assert await one.send(b"first")
    assert await one.send(b"second")
    one.shutdown()
    assert [await two.receive(100) for _ in range(3)] == [b"first", b"second", b""]
    assert await two.send(b"answer")
    assert await one.receive(100) == b"answer"
    one.close()
    two.close()


async def test_a_slow_peer_holds_up_the_sender() -> None:
    """send() waits while the peer's queue is full, and goes on when it reads."""
    one, two = pair()
    sent = 0

    async def send() -> None:
        nonlocal sent
        for _ in range(100):
            await one.send(bytes(32768))
            sent += 1

    sending = asyncio.create_task(send())
    await asyncio.sleep(0.02)
    assert 0 < sent < 100
    for _ in range(100):
        assert len(await two.receive(65536)) == 32768
    await sending
    one.close()
    two.close()


async def test_a_peer_that_is_gone() -> None:
    """send() says so, receive() gives the end."""
    one, two = pair()
    two.close()
    assert not await one.send(b"x")
    assert await one.receive(10) == b""
    one.shutdown()
    one.close()
