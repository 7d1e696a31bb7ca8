"""What a WebSocket's channels write, and when."""

import asyncio
from typing import cast

from crishim.cri.stream.connection import Connection
from crishim.cri.stream.fair_scheduler import Budget, FairScheduler
from crishim.cri.stream.remotecommand.protocol import V5
from crishim.cri.stream.websocket.channels import Channels
from crishim.cri.stream.websocket.protocol import WebSocket
from tests.support.eventually import eventually

PING = bytes.fromhex("89 80 00000000")  # masked with zeros
PONG = bytes.fromhex("8a 00")


class SlowConnection:
    """A client that takes nothing until `takes` is set."""

    def __init__(self) -> None:
        self.budget = Budget(FairScheduler())
        self.incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self.takes = asyncio.Event()
        self.writes: list[bytes] = []

    async def read(self) -> bytes:
        return await self.incoming.get()

    async def write(self, data: bytes) -> None:
        self.writes.append(data)
        await self.takes.wait()


async def test_a_pong_does_not_wait_for_the_next_output() -> None:
    """A ping that comes while output is being written is answered when that is done, not with the next output."""
    connection = SlowConnection()
    channels = Channels(cast(Connection, connection), WebSocket(), b"", V5, [0])
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(channels.run())
        writing = tasks.create_task(channels.write(1, b"prompt"))
        await eventually(lambda: connection.writes)
        connection.incoming.put_nowait(PING)
        await eventually(connection.incoming.empty)
        assert PONG not in connection.writes
        connection.takes.set()
        await writing
        assert connection.writes[-1] == PONG
        running.cancel()
