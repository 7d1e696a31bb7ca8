"""A runtime for the driver's tests: plugins on a socket of its own, and pods and containers that are only messages."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from crishim.errors import CrishimError, Kind
from crishim.nri.plugins import DriverSettings, Plugins
from crishim.pb import nri_pb2 as nri
from tests.support.nri_plugin import FakePlugin

Join = Callable[..., Awaitable[FakePlugin]]


class Node:
    """A runtime that has pods and containers, and remembers what is done to them."""

    def __init__(self) -> None:
        self.pods: list[nri.PodSandbox] = []
        self.containers: list[nri.Container] = []
        self.updated: list[str] = []
        self.evicted: list[str] = []
        self.settings = DriverSettings()
        self.plugins = Plugins(self.settings)

    async def pods_and_containers(self) -> tuple[list[nri.PodSandbox], list[nri.Container]]:
        return self.pods, self.containers

    async def update_container(self, update: nri.ContainerUpdate) -> None:
        self.known(update.container_id)
        self.updated.append(update.container_id)

    async def evict_container(self, eviction: nri.ContainerEviction) -> None:
        self.known(eviction.container_id)
        self.evicted.append(eviction.container_id)

    def known(self, container: str) -> None:
        if container not in {c.id for c in self.containers}:
            raise CrishimError(Kind.NOT_FOUND, f"there is no container {container}")

    async def start(self, **settings: Any) -> Plugins:
        self.settings = self.settings._replace(**settings)
        self.plugins = Plugins(self.settings)
        await self.plugins.start(self)
        return self.plugins


POD = nri.PodSandbox(id="pod", name="web", namespace="default")
CONTAINER = nri.Container(id="new", pod_sandbox_id="pod", name="app", env=["A=1"])


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something the loop will bring about."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)
