"""A world's NRI plugins: one that takes every event, remembers what it was told, and answers what a test says.

world.nri.active = True         else there is no plugin, and nothing is told
world.nri.told                  ("CreateContainer", its message as it was then), in order
world.nri.known                 pods and containers it was told of and not yet of the end of: "pod ID", "container ID"
world.nri.creation, .update     answers
world.fail["nri.CreateContainer"] = CrishimError(...)       a refusal, before anything else
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from crishim.nri.plugins import Changes, Creation, Update
from crishim.pb import nri_pb2 as nri
from tests.support.pod_drivers import Driver, World


class NriPlugins(Driver):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.active = False
        self.told: list[tuple[str, Any]] = []
        self.known: set[str] = set()
        self.creation = Creation(nri.ContainerAdjustment(), Changes(), nri.FieldOwners())
        self.applied: list[Changes] = []

    def events(self, kind: str = "") -> list[str]:
        return [event for event, _ in self.told if kind in event]

    @contextlib.asynccontextmanager
    async def requests(self) -> AsyncIterator[None]:
        yield

    async def _tell(self, event: str, message: Any) -> None:
        assert self.active, f"{event} is described, and there is no plugin"
        copy = type(message)()
        copy.CopyFrom(message)
        self.told.append((event, copy))
        await self.world.step(f"nri.{event}")

    async def run_pod_sandbox(self, pod: nri.PodSandbox) -> None:
        self.known.add(f"pod {pod.id}")
        await self._tell("RunPodSandbox", pod)

    async def stop_pod_sandbox(self, pod: nri.PodSandbox) -> None:
        assert f"namespaces {pod.id}" in self.world.held, "the namespaces are gone at StopPodSandbox"
        assert f"network {pod.id}" in self.world.held, "the network is gone at StopPodSandbox"
        await self._tell("StopPodSandbox", pod)

    async def remove_pod_sandbox(self, pod: nri.PodSandbox) -> None:
        assert not {thing for thing in self.world.held if pod.id in thing}, "something is left at RemovePodSandbox"
        await self._tell("RemovePodSandbox", pod)
        self.known.discard(f"pod {pod.id}")

    async def update_pod_sandbox(
        self, pod: nri.PodSandbox, overhead: nri.LinuxResources, resources: nri.LinuxResources
    ) -> None:
        await self._tell("UpdatePodSandbox", pod)

    async def post_update_pod_sandbox(self, pod: nri.PodSandbox) -> None:
        await self._tell("PostUpdatePodSandbox", pod)

    async def create_container(self, pod: nri.PodSandbox, container: nri.Container) -> Creation:
        self.known.add(f"container {container.id}")
        await self._tell("CreateContainer", container)
        return self.creation

    async def post_create_container(self, pod: nri.PodSandbox, container: nri.Container) -> None:
        await self._tell("PostCreateContainer", container)

    async def start_container(self, pod: nri.PodSandbox, container: nri.Container) -> None:
        await self._tell("StartContainer", container)

    async def post_start_container(self, pod: nri.PodSandbox, container: nri.Container) -> None:
        await self._tell("PostStartContainer", container)

    async def update_container(
        self, pod: nri.PodSandbox, container: nri.Container, resources: nri.LinuxResources
    ) -> Update:
        await self._tell("UpdateContainer", container)
        return Update(resources, Changes())

    async def post_update_container(self, pod: nri.PodSandbox, container: nri.Container) -> None:
        await self._tell("PostUpdateContainer", container)

    async def stop_container(self, pod: nri.PodSandbox, container: nri.Container) -> Changes:
        await self._tell("StopContainer", container)
        return Changes()

    async def remove_container(self, pod: nri.PodSandbox, container: nri.Container) -> None:
        await self._tell("RemoveContainer", container)
        self.known.discard(f"container {container.id}")

    async def apply(self, changes: Changes) -> None:
        if changes != Changes():
            self.applied.append(changes)
