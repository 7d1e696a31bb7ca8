"""UpdatePodSandboxResources: what the pod as a whole may use, as its client sees it.

The pod's cgroup is the client's: the kubelet sets its limits itself, before or after this call. What is left to the
runtime is to know them, for those who ask (verbose PodSandboxStatus) and for plugins.
"""

from msgspec.structs import replace

from crishim.node import Node
from crishim.operations import nri_events
from crishim.pb import cri_pb2 as cri


async def update_pod(node: Node, request: cri.UpdatePodSandboxResourcesRequest) -> None:
    """Record overhead and resources of a pod; a part that is not given stays as it is.

    Raises NOT_FOUND, and what an NRI plugin refuses with.
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
