"""The RPCs of pod sandboxes."""

import json
import time
from collections.abc import AsyncIterator, Iterable

from crishim.cri.batches import batches
from crishim.cri.containers import container_status
from crishim.cri.describe import describe_pod
from crishim.cri.filters import selects_labels
from crishim.cri.message_limit import fit
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import PodState, is_visible_container, is_visible_pod
from crishim.model import PodRecord
from crishim.node import Node
from crishim.operations.log_context import about
from crishim.operations.remove_pod import remove_pod
from crishim.operations.run_pod import run_pod
from crishim.operations.stop_pod import stop_pod
from crishim.pb import cri_pb2 as cri
from crishim.state.store import Store


async def RunPodSandbox(node: Node, request: cri.RunPodSandboxRequest) -> cri.RunPodSandboxResponse:
    return cri.RunPodSandboxResponse(pod_sandbox_id=await run_pod(node, request.config, request.runtime_handler))


async def StopPodSandbox(node: Node, request: cri.StopPodSandboxRequest) -> cri.StopPodSandboxResponse:
    await stop_pod(node, request.pod_sandbox_id)
    return cri.StopPodSandboxResponse()


async def RemovePodSandbox(node: Node, request: cri.RemovePodSandboxRequest) -> cri.RemovePodSandboxResponse:
    await remove_pod(node, request.pod_sandbox_id)
    return cri.RemovePodSandboxResponse()


async def PodSandboxStatus(node: Node, request: cri.PodSandboxStatusRequest) -> cri.PodSandboxStatusResponse:
    pod = visible(node.pods, request.pod_sandbox_id)
    mine = [c for c in node.containers if c.pod_id == pod.id and is_visible_container(c.state)]
    response = cri.PodSandboxStatusResponse(
        status=pod_status(pod),
        containers_statuses=fit([container_status(c) for c in mine], "containers of a pod"),
        timestamp=time.time_ns(),
    )
    if request.verbose:
        response.info["info"] = json.dumps(describe_pod(node, pod))
    return response


async def ListPodSandbox(node: Node, request: cri.ListPodSandboxRequest) -> cri.ListPodSandboxResponse:
    return cri.ListPodSandboxResponse(items=fit(select(node.pods, request.filter), "pods"))


async def StreamPodSandboxes(
    node: Node, request: cri.StreamPodSandboxesRequest
) -> AsyncIterator[cri.StreamPodSandboxesResponse]:
    for batch in batches(select(node.pods, request.filter)):
        yield cri.StreamPodSandboxesResponse(pod_sandboxes=batch)


def visible(pods: Store[PodRecord], id: str) -> PodRecord:
    """The pod of an id or an id's prefix, unless it is being created or removed. Raises NOT_FOUND, INVALID."""
    pod = pods.find(id)
    if not is_visible_pod(pod.state):
        raise CrishimError(Kind.NOT_FOUND, f"pod sandbox {id!r} does not exist")
    about(pod=pod.id)
    return pod


def state_of(pod: PodRecord) -> "cri.PodSandboxState.ValueType":
    return cri.SANDBOX_READY if pod.state is PodState.READY else cri.SANDBOX_NOTREADY


def pod_status(pod: PodRecord) -> cri.PodSandboxStatus:
    """A pod as CRI's PodSandboxStatus. Only eth0's addresses: the kubelet takes each for a pod IP."""
    config = pod.parse_config()
    ips = pod.network.ips if pod.network and pod.state is PodState.READY else ()
    status = cri.PodSandboxStatus(
        id=pod.id,
        metadata=config.metadata,
        state=state_of(pod),
        created_at=pod.created_at,
        network=cri.PodSandboxNetworkStatus(
            ip=ips[0] if ips else "", additional_ips=[cri.PodIP(ip=ip) for ip in ips[1:]]
        ),
        labels=config.labels,
        annotations=config.annotations,
        runtime_handler=pod.handler,
    )
    status.linux.namespaces.options.CopyFrom(config.linux.security_context.namespace_options)
    return status


def select(pods: Iterable[PodRecord], wanted: cri.PodSandboxFilter) -> list[cri.PodSandbox]:
    """The pods that match every part of a filter, newest first."""
    chosen = []
    for pod in sorted(pods, key=lambda p: -p.created_at):
        if not is_visible_pod(pod.state) or not pod.id.startswith(wanted.id):
            continue
        if wanted.HasField("state") and wanted.state.state != state_of(pod):
            continue
        config = pod.parse_config()
        if selects_labels(wanted.label_selector, config.labels):
            chosen.append(
                cri.PodSandbox(
                    id=pod.id,
                    metadata=config.metadata,
                    state=state_of(pod),
                    created_at=pod.created_at,
                    labels=config.labels,
                    annotations=config.annotations,
                    runtime_handler=pod.handler,
                )
            )
    return chosen
