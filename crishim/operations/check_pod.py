"""CheckPods: what the CNI plugins find wrong with a pod's network now: rules flushed, a link removed by hand.

It changes nothing, and it is asked for: a chain's CHECK is as many programs as its ADD, 50 ms and more.
"""

from crishim.cni.network import Check
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import PodState
from crishim.node import Node


async def check_pod(node: Node, id: str) -> Check:
    """CHECK a pod's network. PRECONDITION: the pod is not ready, so it has none to speak of.

    The pod's lock is held: plugins must not be run for one container twice at a time (CNI specification, section 2).
    """
    pod = node.pods.find(id)
    async with node.locks.holding(pod.id):
        pod = node.pods.find(pod.id)
        if pod.state is not PodState.READY:
            raise CrishimError(Kind.PRECONDITION, f"pod sandbox {pod.id[:13]} is not ready", pod=pod.id)
        return await node.networks.check(pod)
