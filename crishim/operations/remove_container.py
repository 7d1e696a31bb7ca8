"""RemoveContainer: kill it if it runs, then take away everything it had. The log file stays: it is the client's."""

from msgspec.structs import replace

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState
from crishim.node import Node
from crishim.operations import nri_events
from crishim.operations.stop_container import stop_container


async def remove_container(node: Node, id: str) -> None:
    """Remove a container in whatever state; OK if it is not there."""
    try:
        container = node.containers.find(id)
    except CrishimError as error:
        if error.kind is Kind.NOT_FOUND:
            return
        raise
    await stop_container(node, container.id, 0)
    async with node.locks.holding(container.id):
        current = node.containers.get(container.id)
        if current is None:
            return
        if current.state is not ContainerState.CREATING:
            await node.containers.update(container.id, lambda c: replace(c, state=ContainerState.REMOVING))
        await nri_events.container_stopped(node, container.id)
        await nri_events.container_goes(node, container.id)
        await node.launcher.end(current)
        await node.filesystems.delete(container.id)
        await node.launcher.delete_bundle(container.id)
        await node.containers.remove(container.id)
