"""The RPCs that reach into containers: ExecSync itself; Exec, Attach, PortForward by a URL of the streaming server."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from crishim.cri.containers import visible
from crishim.cri.pods import visible as visible_pod
from crishim.cri.server import Functions
from crishim.engine.exec_sync import SyncResult
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState, PodState
from crishim.model import ContainerRecord, ExecSpec, PodRecord
from crishim.pb import cri_pb2 as cri
from crishim.state.store import Store


class Urls(Protocol):
    """What hands out the streaming server's URLs."""

    def exec_url(self, request: cri.ExecRequest) -> str: ...
    def attach_url(self, request: cri.AttachRequest) -> str: ...
    def port_forward_url(self, request: cri.PortForwardRequest) -> str: ...


def functions(
    *,
    exec_sync: Callable[[ContainerRecord, ExecSpec, float], Awaitable[SyncResult]],
    urls: Urls,
    reopen_log: Callable[[str], Awaitable[None]],
    pods: Store[PodRecord],
    containers: Store[ContainerRecord],
) -> Functions:
    async def run_sync(request: cri.ExecSyncRequest) -> cri.ExecSyncResponse:
        container = running(containers, request.container_id)
        if not request.cmd:
            raise CrishimError(Kind.INVALID, "ExecSync without a command")
        result = await exec_sync(container, ExecSpec(argv=tuple(request.cmd)), max(0, request.timeout))
        return cri.ExecSyncResponse(stdout=result.stdout, stderr=result.stderr, exit_code=result.exit_code)

    async def exec_stream(request: cri.ExecRequest) -> cri.ExecResponse:
        request.container_id = running(containers, request.container_id).id
        return cri.ExecResponse(url=urls.exec_url(request))

    async def attach(request: cri.AttachRequest) -> cri.AttachResponse:
        request.container_id = running(containers, request.container_id).id
        return cri.AttachResponse(url=urls.attach_url(request))

    async def port_forward(request: cri.PortForwardRequest) -> cri.PortForwardResponse:
        pod = visible_pod(pods, request.pod_sandbox_id)
        if pod.state is not PodState.READY:
            raise CrishimError(Kind.PRECONDITION, f"pod sandbox {pod.id[:13]} is not ready", pod=pod.id)
        request.pod_sandbox_id = pod.id
        return cri.PortForwardResponse(url=urls.port_forward_url(request))

    async def reopen(request: cri.ReopenContainerLogRequest) -> cri.ReopenContainerLogResponse:
        await reopen_log(request.container_id)
        return cri.ReopenContainerLogResponse()

    return {
        "ExecSync": run_sync,
        "Exec": exec_stream,
        "Attach": attach,
        "PortForward": port_forward,
        "ReopenContainerLog": reopen,
    }


def running(containers: Store[ContainerRecord], id: str) -> ContainerRecord:
    """The running container of an id. NOT_FOUND; PRECONDITION in any other state."""
    container = visible(containers, id)
    if container.state is not ContainerState.RUNNING:
        raise CrishimError(
            Kind.PRECONDITION,
            f"container {container.id[:13]} is {container.state}, not running",
            container=container.id,
        )
    return container
