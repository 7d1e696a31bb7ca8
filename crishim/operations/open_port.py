"""Connect to a port of a pod, for port forwarding; for a pod on the host's network it is the host's port."""

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import PodState
from crishim.linux.byte_sockets import ByteSocket
from crishim.linux.netns_connect import connect_in_netns
from crishim.node import Node


async def open_port(node: Node, pod_id: str, port: int) -> ByteSocket:
    """Connect to a TCP port on a pod's loopback. Raises PRECONDITION if it is not READY, and as connect_in_netns()."""
    pod = node.pods.find(pod_id)
    if pod.state is not PodState.READY:
        raise CrishimError(Kind.PRECONDITION, f"pod sandbox {pod.id[:13]} is not ready", pod=pod.id)
    return await connect_in_netns(pod.namespaces.net, port)
