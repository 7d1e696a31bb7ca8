"""A running streaming server over fake sessions; afterwards nothing of it may be left."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from crishim.cri.stream.server import StreamServer
from tests.support.eventually import eventually
from tests.support.streams.fake_runtime import FakeRuntime


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
async def server(runtime: FakeRuntime) -> AsyncIterator[StreamServer]:
    before = len(os.listdir("/proc/self/fd"))
    server = StreamServer(creation_timeout=0.5)
    await server.start(runtime, "127.0.0.1", 0)
    yield server
    await server.stop()
    await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)
    assert asyncio.all_tasks() == {asyncio.current_task()}
