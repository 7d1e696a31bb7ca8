"""CheckPods: run CNI CHECK on a pod's network, which finds flushed rules, a link removed by hand and the like.

It changes nothing and runs on request only: CHECK runs as many plugins as ADD, for 50 ms and more.
"""

from crishim.cni.network import Check
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import PodState
from crishim.node import Node


async def check_pod(node: Node, id: str) -> Check:
    """CHECK a pod's network. Raises PRECONDITION if the pod is not ready.

    The pod's lock is held: plugins must not be run for one container twice at a time (CNI specification, section 2).
    """
    pod = node.pods.find(id)
    async with node.locks.holding(pod.id):
        pod = node.pods.find(pod.id)
        if pod.state is not PodState.READY:
            raise CrishimError(Kind.PRECONDITION, f"pod sandbox {pod.id[:13]} is not ready", pod=pod.id)
        return await node.networks.check(pod)
