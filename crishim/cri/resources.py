"""The RPCs that change what containers and pods may use, and CheckpointContainer."""

from collections.abc import Awaitable, Callable

from crishim.cri.containers import visible as visible_container
from crishim.cri.pods import visible as visible_pod
from crishim.cri.server import Functions
from crishim.model import ContainerRecord, PodRecord
from crishim.pb import cri_pb2 as cri
from crishim.state.store import Store


def functions(
    *,
    update_container: Callable[[str, cri.LinuxContainerResources], Awaitable[None]],
    update_pod: Callable[[cri.UpdatePodSandboxResourcesRequest], Awaitable[None]],
    checkpoint_container: Callable[[str, str, int], Awaitable[None]],
    pods: Store[PodRecord],
    containers: Store[ContainerRecord],
) -> Functions:
    async def of_container(request: cri.UpdateContainerResourcesRequest) -> cri.UpdateContainerResourcesResponse:
        await update_container(visible_container(containers, request.container_id).id, request.linux)
        return cri.UpdateContainerResourcesResponse()

    async def of_pod(request: cri.UpdatePodSandboxResourcesRequest) -> cri.UpdatePodSandboxResourcesResponse:
        visible_pod(pods, request.pod_sandbox_id)
        await update_pod(request)
        return cri.UpdatePodSandboxResourcesResponse()

    async def checkpoint(request: cri.CheckpointContainerRequest) -> cri.CheckpointContainerResponse:
        container = visible_container(containers, request.container_id)
        await checkpoint_container(container.id, request.location, request.timeout)
        return cri.CheckpointContainerResponse()

    return {
        "UpdateContainerResources": of_container,
        "UpdatePodSandboxResources": of_pod,
        "CheckpointContainer": checkpoint,
    }
