"""Two hundred streaming sessions at once, each with a real command."""

import asyncio
import os
from pathlib import Path

import pytest

from crishim.cri.stream.remotecommand.protocol import V4
from crishim.pb import cri_pb2 as cri
from tests.node.streaming_rig import Rig
from tests.node.streaming_rig import stream_rig as stream_rig
from tests.support.eventually import eventually
from tests.support.streams.asynchronous import spdy

pytestmark = pytest.mark.node

SESSIONS = 200


async def test_two_hundred_sessions_at_once(stream_rig: Rig) -> None:
    """All are alive at the same time, each gets its own bytes and its own exit code, and nothing is left."""
    container = await stream_rig.run("sh", "-c", "while :; do sleep 1000; done")
    before = stream_rig.descriptors()
    all_alive = asyncio.Event()
    alive = 0

    async def session(number: int) -> None:
        nonlocal alive
        script = f"read line; echo got $line; read line; exit {number % 100}"
        request = cri.ExecRequest(container_id=container.id, cmd=["sh", "-c", script], stdin=True, stdout=True)
        async with spdy(stream_rig.streams.exec_url(request), V4) as client:
            for kind in ("error", "stdin", "stdout"):
                await client.open(streamType=kind)
            client.send(3, b"%d\n" % number)
            await client.until(lambda: client.received.get(5) == b"got %d\n" % number, seconds=100)
            alive += 1
            if alive == SESSIONS:
                all_alive.set()
            await all_alive.wait()
            client.send(3, b"\n")
            report = await client.text(1)
            code = number % 100
            assert (b'"message":"%d"}' % code in report) if code else (b"Success" in report)

    async with asyncio.timeout(100):
        await asyncio.gather(*(session(n) for n in range(SESSIONS)))
    await stream_rig.settled(container, "sleep 1000")
    await eventually(lambda: stream_rig.descriptors() <= before)


async def test_two_hundred_clients_that_vanish(stream_rig: Rig) -> None:
    """All hang up at once: every command is killed, and nothing is left."""
    container = await stream_rig.run("sh", "-c", "while :; do sleep 1000; done")
    before = stream_rig.descriptors()
    hang_up = asyncio.Event()
    alive = 0

    async def session() -> None:
        nonlocal alive
        request = cri.ExecRequest(container_id=container.id, cmd=["sleep", "999"], stdin=True, stdout=True)
        async with spdy(stream_rig.streams.exec_url(request), V4) as client:
            for kind in ("error", "stdin", "stdout"):
                await client.open(streamType=kind)
            alive += 1
            await hang_up.wait()

    async with asyncio.timeout(100):
        clients = asyncio.gather(*(session() for _ in range(SESSIONS)))
        await eventually(lambda: alive == SESSIONS and count(stream_rig, container.pid) == SESSIONS + 1, seconds=90)
        hang_up.set()
        await clients
        await stream_rig.settled(container, "sleep 1000", seconds=60)
    await eventually(lambda: stream_rig.descriptors() <= before)


def count(rig: Rig, pid: int) -> int:
    """How many processes live in the pid namespace beside its first."""
    namespace = os.readlink(f"/proc/{pid}/ns/pid")
    found = -1
    for path in Path("/proc").glob("[0-9]*/ns/pid"):
        try:
            found += os.readlink(path) == namespace
        except OSError:
            continue
    return found
