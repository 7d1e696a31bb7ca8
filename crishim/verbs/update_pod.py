"""UpdatePodSandboxResources: what the pod as a whole may use, as its client sees it.

The pod's cgroup is the client's: the kubelet sets its limits itself, before or after this call. What is left to the
runtime is to know them, for those who ask (verbose PodSandboxStatus) and for plugins.
"""

from msgspec.structs import replace

from crishim.model import PodRecord
from crishim.pb import cri_pb2 as cri
from crishim.state.store import Store


async def update_pod(request: cri.UpdatePodSandboxResourcesRequest, *, pods: Store[PodRecord]) -> None:
    """Record overhead and resources of a pod; a part that is not given stays as it is. Raises NOT_FOUND."""
    pod = pods.find(request.pod_sandbox_id)
    changes = {
        name: getattr(request, name).SerializeToString(deterministic=True)
        for name in ("overhead", "resources")
        if request.HasField(name)
    }
    await pods.update(pod.id, lambda p: replace(p, **changes))
