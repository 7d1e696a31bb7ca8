"""RemovePodSandbox: stop it, remove its containers, forget it."""

from msgspec.structs import replace

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import PodState
from crishim.node import Node
from crishim.operations import nri_events
from crishim.operations.log_context import about
from crishim.operations.remove_container import remove_container
from crishim.operations.stop_pod import forget_pod, stop_pod


async def remove_pod(node: Node, id: str) -> None:
    """Remove a pod with all its containers; OK if it is not there. Raises if its network cannot be torn down."""
    try:
        pod = node.pods.find(id)
    except CrishimError as error:
        if error.kind is Kind.NOT_FOUND:
            return
        raise
    about(pod=pod.id)
    await stop_pod(node, pod.id)
    for container in [c for c in node.containers if c.pod_id == pod.id]:
        await remove_container(node, container.id)
    async with node.locks.holding(pod.id):
        if node.pods.get(pod.id) is None:
            return
        await node.pods.update(pod.id, lambda p: replace(p, state=PodState.REMOVING))
        await forget_pod(node, pod)
        await nri_events.pod_goes(node, pod.id)
