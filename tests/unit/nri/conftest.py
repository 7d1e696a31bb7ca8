"""A runtime with a socket, and fake plugins that join it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from crishim.nri.plugins import DriverSettings
from tests.support.nri_plugin import FakePlugin
from tests.support.nri_rig import Join, Node, until


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node()
    made.settings = DriverSettings(socket=tmp_path / "nri.sock", plugin_directory=None, registration_timeout=20.0)
    yield made
    await made.plugins.close()
    assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("nri ")]


@pytest.fixture
async def join(node: Node) -> AsyncIterator[Join]:
    """Connect a fake plugin and wait until it is called."""
    joined: list[FakePlugin] = []

    async def connect(index: str = "10", name: str = "fake", **options: Any) -> FakePlugin:
        plugin = FakePlugin(index, name, **options)
        joined.append(plugin)
        assert node.settings.socket
        await plugin.connect(node.settings.socket)
        here = [p for p in joined if not p.closed.is_set()]
        await until(lambda: [s.state for s in node.plugins.status()].count("ready") >= len(here))
        return plugin

    yield connect
    for plugin in joined:
        await plugin.close()
