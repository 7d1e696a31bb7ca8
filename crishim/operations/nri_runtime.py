"""RuntimeOperations of NRI plugins: list pods and containers, update a container, evict one."""

from dataclasses import dataclass

from crishim.errors import CrishimError, Kind
from crishim.node import Node
from crishim.operations.nri_messages import all_messages
from crishim.operations.stop_container import stop_container
from crishim.operations.update_container import update_resources
from crishim.pb import nri_pb2 as nri
from crishim.spec.nri_resources import to_cri

EVICTION_GRACE = 2.0  # seconds between the stop signal and SIGKILL; a kubelet starts the container again


@dataclass(frozen=True)
class NriRuntime:
    """The node's operations for its plugins."""

    node: Node

    async def pods_and_containers(self) -> tuple[list[nri.PodSandbox], list[nri.Container]]:
        return await all_messages(self.node)

    async def update_container(self, update: nri.ContainerUpdate) -> None:
        """Sends no events: plugins are not asked about an update of their own."""
        resources = update.linux.resources
        await update_resources(self.node, self._find(update.container_id), to_cri(resources), resources)

    async def evict_container(self, eviction: nri.ContainerEviction) -> None:
        await stop_container(self.node, self._find(eviction.container_id), EVICTION_GRACE)

    def _find(self, id: str) -> str:
        """A container by its complete id: a plugin's mistake must not hit another one. Raises NOT_FOUND."""
        if self.node.containers.get(id) is None:
            raise CrishimError(Kind.NOT_FOUND, f"there is no container {id!r}", container=id)
        return id
