"""UpdatePodSandboxResources: record the overhead and resources of a pod.

The pod's cgroup is the client's: the kubelet sets its limits itself, before or after this call. The runtime only
records them, for verbose PodSandboxStatus and for NRI plugins.
"""

from msgspec.structs import replace

from crishim.node import Node
from crishim.operations import nri_events
from crishim.pb import cri_pb2 as cri


async def update_pod(node: Node, request: cri.UpdatePodSandboxResourcesRequest) -> None:
    """Record overhead and resources of a pod; a part that is not given stays as it is.

    Raises NOT_FOUND, and an NRI plugin's refusal.
    """
    pod = node.pods.find(request.pod_sandbox_id)
    changes = {
        name: getattr(request, name).SerializeToString(deterministic=True)
        for name in ("overhead", "resources")
        if request.HasField(name)
    }
    await nri_events.pod_updates(node, replace(pod, **changes))
    updated = await node.pods.update(pod.id, lambda p: replace(p, **changes))
    await nri_events.pod_updated(node, updated)
