"""RemovePodSandbox: stop the pod, remove its containers, remove its record.

The response is sent once the pod is stopped and the records are REMOVING: pod and containers are in no list then, and
their names are free. What they had is removed afterwards, the containers' first.
"""

import asyncio
from functools import partial

from msgspec.structs import replace

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import PodState
from crishim.node import Node
from crishim.operations import afterwards, nri_events, remove_container
from crishim.operations.log_context import about
from crishim.operations.stop_pod import forget_pod, stop_pod


async def remove_pod(node: Node, id: str) -> None:
    """Remove a pod with all its containers; OK if it does not exist. Raises if its network cannot be torn down.

    If it is being removed already, this returns when it is gone.
    """
    try:
        pod = node.pods.find(id)
    except CrishimError as error:
        if error.kind is Kind.NOT_FOUND:
            return
        raise
    about(pod=pod.id)
    again = pod.state is PodState.REMOVING
    await stop_pod(node, pod.id)
    if not again:
        for container in [c for c in node.containers if c.pod_id == pod.id]:
            await remove_container.remove_container(node, container.id)
        async with node.locks.holding(pod.id):
            if node.pods.get(pod.id) is None:
                return
            await node.pods.update(pod.id, lambda p: replace(p, state=PodState.REMOVING))
            await node.netdevices.forget(pod.id)
    if again or node.nri.active or node.pods.is_adopted(pod.id):
        await delete_resources(node, pod.id)
    else:
        finish(node, pod.id, afterwards.HEAD_START)


def finish(node: Node, id: str, pause: float = 0.0) -> asyncio.Task[None]:
    """take_away() in the background after pause seconds, until it succeeds; returns the first attempt's task."""
    return afterwards.start(node, partial(delete_resources, node, id), f"removal of pod {id[:13]}", pause)


async def delete_resources(node: Node, id: str) -> None:
    """Remove what a pod in REMOVING has, and its record last; may be repeated, and waits for a removal in progress."""
    for container in [c for c in node.containers if c.pod_id == id]:
        await remove_container.delete_resources(node, container.id)
    async with node.locks.holding(id):
        pod = node.pods.get(id)
        if pod is None:
            return
        await forget_pod(node, pod)
        await nri_events.pod_goes(node, id)
