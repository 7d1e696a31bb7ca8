"""A connection to a port of a pod, for port forwarding; that of a pod on the host's network is the host's."""

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import PodState
from crishim.linux.byte_sockets import ByteSocket
from crishim.linux.netns_connect import connect_in_netns
from crishim.node import Node


async def open_port(node: Node, pod_id: str, port: int) -> ByteSocket:
    """Connect to a TCP port on a READY pod's loopback. PRECONDITION if it is not ready; else as connect_in_netns()."""
    pod = node.pods.find(pod_id)
    if pod.state is not PodState.READY:
        raise CrishimError(Kind.PRECONDITION, f"pod sandbox {pod.id[:13]} is not ready", pod=pod.id)
    return await connect_in_netns(pod.namespaces.net, port)
