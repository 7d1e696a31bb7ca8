"""RemoveContainer: kill it if it runs, then take away everything it had. The log file stays: it is the client's.

The answer waits for the end and for the record that says REMOVING: from then on the container is in no list, and its
name is free. What it had goes afterwards.
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
    """Remove a container in whatever state; OK if it is not there.

    One that is being removed already is gone when this returns: who asks again wants to know.
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
        await take_away(node, current.id)
        return
    await node.containers.update(current.id, _removing)
    if node.nri.active or node.containers.is_adopted(current.id):
        # What plugins free at RemoveContainer the next pod may want; an adopted record has its intent not on disk.
        await take_away(node, current.id)
    else:
        finish(node, current.id, afterwards.HEAD_START)


def finish(node: Node, id: str, pause: float = 0.0) -> asyncio.Task[None]:
    """take_away() in the background after pause seconds, till it works; the first attempt."""
    return afterwards.start(node, partial(take_away, node, id), f"removal of container {id[:13]}", pause)


async def take_away(node: Node, id: str) -> None:
    """Take away what a container has, and its record last; may be repeated, and waits for one that is at it."""
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
