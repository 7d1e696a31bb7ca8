"""ExecSync and ReopenContainerLog; and Exec, Attach, PortForward, which return a URL of the streaming server."""

from crishim.cri.containers import visible
from crishim.cri.pods import visible as visible_pod
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import PodState
from crishim.model import ExecSpec
from crishim.node import Node
from crishim.operations.exec import exec_sync, running_container
from crishim.operations.reopen_log import reopen_log
from crishim.pb import cri_pb2 as cri


async def ExecSync(node: Node, request: cri.ExecSyncRequest) -> cri.ExecSyncResponse:
    container = visible(node.containers, request.container_id)
    if not request.cmd:
        raise CrishimError(Kind.INVALID, "ExecSync without a command")
    spec = ExecSpec(argv=tuple(request.cmd))
    result = await exec_sync(node, container.id, spec, max(0, request.timeout))
    return cri.ExecSyncResponse(stdout=result.stdout, stderr=result.stderr, exit_code=result.exit_code)


async def Exec(node: Node, request: cri.ExecRequest) -> cri.ExecResponse:
    container = visible(node.containers, request.container_id)
    request.container_id = running_container(node, container.id).id
    return cri.ExecResponse(url=node.streams.exec_url(request))


async def Attach(node: Node, request: cri.AttachRequest) -> cri.AttachResponse:
    container = visible(node.containers, request.container_id)
    request.container_id = running_container(node, container.id).id
    return cri.AttachResponse(url=node.streams.attach_url(request))


async def PortForward(node: Node, request: cri.PortForwardRequest) -> cri.PortForwardResponse:
    pod = visible_pod(node.pods, request.pod_sandbox_id)
    if pod.state is not PodState.READY:
        raise CrishimError(Kind.PRECONDITION, f"pod sandbox {pod.id[:13]} is not ready", pod=pod.id)
    request.pod_sandbox_id = pod.id
    return cri.PortForwardResponse(url=node.streams.port_forward_url(request))


async def ReopenContainerLog(node: Node, request: cri.ReopenContainerLogRequest) -> cri.ReopenContainerLogResponse:
    await reopen_log(node, request.container_id)
    return cri.ReopenContainerLogResponse()
