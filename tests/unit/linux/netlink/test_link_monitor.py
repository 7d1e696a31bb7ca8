"""The monitor of a namespace's links, over a socket pair: what it keeps, and how much it reads."""

import asyncio
import gc
import os
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from crishim.linux.netlink import links, rtnetlink
from crishim.linux.netlink.link_monitor import MOST_DATAGRAMS, MOST_LINKS, LinkChange, LinkMonitor, load, open_socket

load()


def message(index: int, name: bytes = b"net1", kind: int = links.RTM_NEWLINK, *more: bytes) -> bytes:
    body = links.header(index, 0x1) + rtnetlink.attribute(links.IFLA_IFNAME, name + b"\0") + b"".join(more)
    return rtnetlink.frame(kind, 0, 0, body)


class Rig:
    """A monitor; send() is the kernel's. woken: how often."""

    def __init__(self) -> None:
        self.kernel, mine = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        mine.setblocking(False)
        self.woken = 0
        self.monitor = LinkMonitor(mine, self._wake)

    def _wake(self) -> None:
        self.woken += 1

    @property
    def is_over(self) -> bool:
        return self.monitor.missed

    async def send(self, *datagrams: bytes) -> None:
        """And let the event loop read all of it."""
        self.kernel.setblocking(False)
        for datagram in datagrams:
            while not self.monitor.missed:
                try:
                    self.kernel.send(datagram)
                    break
                except BlockingIOError:
                    await asyncio.sleep(0)
        for _ in range(MOST_DATAGRAMS * 2):
            await asyncio.sleep(0)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    before = len(os.listdir("/proc/self/fd"))
    made = Rig()
    await made.monitor.start()
    yield made
    made.monitor.close()
    made.kernel.close()
    await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_what_changes(rig: Rig) -> None:
    """A link that is there, one that was deleted, one that was moved away; told once."""
    netns = rtnetlink.u32(45, 0)  # IFLA_NEW_NETNSID
    away = message(7, b"net3", links.RTM_DELLINK, netns)
    await rig.send(message(5), message(6, b"net2", links.RTM_DELLINK), away)
    assert rig.woken == 3
    assert rig.monitor.take() == [LinkChange(5), LinkChange(6, is_gone=True), LinkChange(7, True, True)]
    assert rig.monitor.take() == []
    assert not rig.monitor.missed


async def test_the_newest_of_each_link(rig: Rig) -> None:
    """A link that comes and goes is one change; of more links than MOST_LINKS the first are kept."""
    for _ in range(10):
        await rig.send(message(5), message(5, b"net1", links.RTM_DELLINK))
    assert rig.monitor.take() == [LinkChange(5, is_gone=True)]
    await rig.send(*(message(n) for n in range(1, MOST_LINKS + 10)))
    assert [change.ifindex for change in rig.monitor.take()] == list(range(1, MOST_LINKS + 1))


async def test_a_flood(rig: Rig) -> None:
    """So many datagrams between two looks are read, and then no more: the socket is closed."""
    await rig.send(*(message(5) for _ in range(MOST_DATAGRAMS)))
    assert not rig.monitor.missed
    await rig.send(message(5))
    assert rig.is_over
    assert rig.woken == MOST_DATAGRAMS + 1
    with pytest.raises(ConnectionRefusedError):
        rig.kernel.send(message(5))


async def test_a_look_lets_it_read_on(rig: Rig) -> None:
    for _ in range(3):
        await rig.send(*(message(5) for _ in range(MOST_DATAGRAMS)))
        assert rig.monitor.take() == [LinkChange(5)]
    assert not rig.monitor.missed


@pytest.mark.parametrize("garbage", [b"x", bytes(3), message(5)[:-6], struct.pack("=IHHII", 16, 16, 0, 0, 0)])
async def test_what_cannot_be_read(rig: Rig, garbage: bytes) -> None:
    """Wakes, and is no change; a name of any bytes is nothing of the kind."""
    await rig.send(garbage)
    assert rig.woken == 1
    assert not rig.monitor.missed
    rig.monitor.take()
    await rig.send(message(5, b"\xff\xfe"))
    assert rig.monitor.take() == [LinkChange(5)]


async def test_a_closed_one(rig: Rig) -> None:
    """Wakes nobody, may be closed again, and before it was started too."""
    rig.monitor.close()
    rig.monitor.close()
    await asyncio.sleep(0)
    assert rig.woken == 0
    other = Rig()
    other.monitor.close()
    other.kernel.close()


async def test_the_kernels_own_socket() -> None:
    """Of this process's namespace, non-blocking; more than fits is ENOBUFS, which is said as missed."""
    made = open_socket()
    assert (made.type, made.getblocking()) == (socket.SOCK_DGRAM, False)
    monitor = LinkMonitor(made, lambda: None)
    await monitor.start()
    monitor._route.protocol.error_received(OSError(105, "No buffer space available"))
    assert monitor.missed
    assert made.fileno() == -1


async def test_one_that_is_closed_while_it_starts() -> None:
    """Nothing reads any more, and no transport is left."""
    before = len(os.listdir("/proc/self/fd"))
    rig = Rig()
    starting = asyncio.create_task(rig.monitor.start())
    await asyncio.sleep(0)
    rig.monitor.close()
    await starting
    await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError):
        rig.kernel.send(message(5))
    rig.kernel.close()
    assert len(os.listdir("/proc/self/fd")) == before
    gc.collect()  # an open transport that nobody has is a warning, and so an error
