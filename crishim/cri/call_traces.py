"""Find the pod of a call, for its trace, and the client's span, in the gRPC metadata."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crishim.errors import CrishimError
from crishim.operations import log_context
from crishim.pb import cri_pb2 as cri
from crishim.tracing import Call, Parent, parse_parent

if TYPE_CHECKING:
    from crishim.node import Node


def parent_of(metadata: Sequence[tuple[str, Any]] | None) -> Parent | None:
    """The client's span, from the traceparent header (W3C Trace Context); None without one."""
    for key, value in metadata or ():
        if key == "traceparent" and isinstance(value, str):
            return parse_parent(value)
    return None


def keep(node: "Node", call: Call, request: Any) -> None:
    """Keep the trace of a call that has ended, with that of the pod it concerns, if any."""
    pod = log_context.current().get("pod", "")
    metadata = cri.PodSandboxMetadata()
    if call.name == "RunPodSandbox":
        metadata = request.config.metadata
    elif call.name == "PullImage":
        metadata = request.sandbox_config.metadata
        from crishim.state.names import pod_name  # late: the first Status must not wait for its import

        pod = node.names.holder(pod_name(metadata.namespace, metadata.name, metadata.uid, metadata.attempt)) or ""
    try:
        if container := getattr(request, "container_id", ""):
            pod = node.containers.find(container).pod_id
        record = node.pods.find(pod) if pod and not metadata.name else None
    except CrishimError:
        record = None  # the pod or container was removed
    if record:
        pod, metadata = record.id, record.parse_config().metadata
    node.traces.keep(call, pod, f"{metadata.namespace}/{metadata.name}" if metadata.name else "")
