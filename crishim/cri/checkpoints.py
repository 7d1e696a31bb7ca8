"""The RPCs of checkpoints."""

from crishim.cri.containers import visible as visible_container
from crishim.cri.pods import visible as visible_pod
from crishim.node import Node
from crishim.operations.checkpoint_container import checkpoint_container
from crishim.operations.checkpoint_pod import checkpoint_pod
from crishim.operations.restore_pod import restore_pod
from crishim.pb import cri_pb2 as cri


async def CheckpointContainer(node: Node, request: cri.CheckpointContainerRequest) -> cri.CheckpointContainerResponse:
    container = visible_container(node.containers, request.container_id)
    await checkpoint_container(node, container.id, request.location, request.timeout)
    return cri.CheckpointContainerResponse()


async def CheckpointPod(node: Node, request: cri.CheckpointPodRequest) -> cri.CheckpointPodResponse:
    visible_pod(node.pods, request.pod_sandbox_id)
    await checkpoint_pod(node, request)
    return cri.CheckpointPodResponse()


async def RestorePod(node: Node, request: cri.RestorePodRequest) -> cri.RestorePodResponse:
    return await restore_pod(node, request)
