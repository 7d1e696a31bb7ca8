"""RemoveContainer: kill the container if it runs, then remove everything it had except the log file, the client's.

The response is sent once it has exited and the record is REMOVING: then the container is in no list, and its name is
free. What it had is removed afterwards.
"""

import asyncio
from functools import partial

from msgspec.structs import replace

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState
from crishim.model import ContainerRecord
from crishim.node import Node
from crishim.operations import afterwards, nri_events
from crishim.operations.stop_container import stop_container


async def remove_container(node: Node, id: str) -> None:
    """Remove a container in any state; OK if it does not exist.

    If it is being removed already, this returns when it is gone.
    """
    try:
        container = node.containers.find(id)
    except CrishimError as error:
        if error.kind is Kind.NOT_FOUND:
            return
        raise
    await stop_container(node, container.id, 0)
    current = node.containers.get(container.id)
    if current is None:
        return
    if current.state in (ContainerState.CREATING, ContainerState.REMOVING):
        await delete_resources(node, current.id)
        return
    await node.containers.update(current.id, _removing)
    if node.nri.active or node.containers.is_adopted(current.id):
        # The next pod may need what plugins free at RemoveContainer; an adopted record's REMOVING is not on disk.
        await delete_resources(node, current.id)
    else:
        finish(node, current.id, afterwards.HEAD_START)


def finish(node: Node, id: str, pause: float = 0.0) -> asyncio.Task[None]:
    """take_away() in the background after pause seconds, until it succeeds; returns the first attempt's task."""
    return afterwards.start(node, partial(delete_resources, node, id), f"removal of container {id[:13]}", pause)


async def delete_resources(node: Node, id: str) -> None:
    """Remove what a container has, and its record last; may be repeated, and waits for a removal in progress."""
    async with node.locks.holding(id):
        current = node.containers.get(id)
        if current is None:
            return
        if current.state is not ContainerState.CREATING:
            await node.containers.update(id, _removing)
        await nri_events.container_stopped(node, id)
        await nri_events.container_goes(node, id)
        await node.launcher.end(current)
        await node.filesystems.delete(id)
        await node.launcher.delete_bundle(id)
        await node.containers.remove(id)


def _removing(container: ContainerRecord) -> ContainerRecord:
    return replace(container, state=ContainerState.REMOVING)
