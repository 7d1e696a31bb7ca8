"""The RPCs that update resource limits of containers and pods."""

from crishim.cri.containers import visible as visible_container
from crishim.cri.pods import visible as visible_pod
from crishim.node import Node
from crishim.operations.update_container import update_container
from crishim.operations.update_pod import update_pod
from crishim.pb import cri_pb2 as cri


async def UpdateContainerResources(
    node: Node, request: cri.UpdateContainerResourcesRequest
) -> cri.UpdateContainerResourcesResponse:
    await update_container(node, visible_container(node.containers, request.container_id).id, request.linux)
    return cri.UpdateContainerResourcesResponse()


async def UpdatePodSandboxResources(
    node: Node, request: cri.UpdatePodSandboxResourcesRequest
) -> cri.UpdatePodSandboxResourcesResponse:
    visible_pod(node.pods, request.pod_sandbox_id)
    await update_pod(node, request)
    return cri.UpdatePodSandboxResourcesResponse()
