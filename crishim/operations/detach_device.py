"""DetachNetDevice: return one device of a running pod to the host."""

from msgspec.structs import replace

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import PodState
from crishim.netdev.records import Attachment
from crishim.node import Node
from crishim.operations.stop_pod import device_pod

MOST = 64  # detached devices remembered per pod


async def detach_device(node: Node, id: str, device: str) -> Attachment | tuple[str, ...]:
    """Return a pod's device, named by its host name, an altname, or its in-pod name; the ended attachment.

    A repeated call, before or after a crash, does nothing and succeeds, as long as the pod exists: it returns the
    device's names, the host's and the in-pod one first. Raises NOT_FOUND for a device the pod never had, PRECONDITION
    for a pod that is not ready.
    """
    async with node.locks.holding(id):
        pod = node.pods.get(id)
        if pod is None or pod.state is not PodState.READY:
            raise CrishimError(Kind.PRECONDITION, f"pod sandbox {id[:13]} is not ready", pod=id)
        held = node.netdevices.find(id, device)
        if held is None:
            for names in reversed(pod.detached):
                if device in names:
                    return names
        else:  # recorded before the effect, in case of a crash after it
            names = (held.host.name, held.name, *held.host.altnames)
            others = tuple(x for x in pod.detached if x != names)[1 - MOST :]
            await node.pods.update(id, lambda p: replace(p, detached=(*others, names)))
        return await node.netdevices.detach(device_pod(pod), device)
