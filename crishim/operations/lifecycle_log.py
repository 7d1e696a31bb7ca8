"""Log each pod's and container's lifecycle: one info line with ids and names at each state change of note."""

import logging
from typing import Any

from crishim.lifecycle import ContainerState, PodState
from crishim.model import ContainerRecord, PodRecord
from crishim.node import Node

log = logging.getLogger("crishim.lifecycle")
_OF_PODS = {
    PodState.READY: "pod is ready",
    PodState.NOTREADY: "pod has stopped",
    PodState.REMOVING: "pod is removed",
}
_OF_CONTAINERS = {
    ContainerState.CREATED: "container is created",
    ContainerState.RUNNING: "container has started",
    ContainerState.EXITED: "container has ended",
    ContainerState.REMOVING: "container is removed",
}


def follow(node: Node) -> None:
    """Log every state change from now on."""
    node.pods.subscribe(_pod)
    node.containers.subscribe(lambda before, after: _container(node, before, after))


def count(node: Node) -> dict[str, object]:
    """Pods and containers by state, for the log line at the end of recovery."""
    return {"pods": _by_state(node.pods), "containers": _by_state(node.containers)}


def _by_state(records: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for record in records:
        found[str(record.state)] = found.get(str(record.state), 0) + 1
    return found


def _pod(before: PodRecord | None, after: PodRecord | None) -> None:
    if after is None or (before is not None and before.state is after.state) or after.state not in _OF_PODS:
        return
    facts: dict[str, object] = {"pod": after.id, "pod_name": _pod_name(after)}
    if after.state is PodState.READY:
        facts["addresses"] = [str(ip) for ip in after.network.ips] if after.network else []
    log.info(_OF_PODS[after.state], extra=facts)


def _container(node: Node, before: ContainerRecord | None, after: ContainerRecord | None) -> None:
    if after is None or (before is not None and before.state is after.state) or after.state not in _OF_CONTAINERS:
        return
    pod = node.pods.get(after.pod_id)
    facts: dict[str, object] = {"pod": after.pod_id, "container": after.id, "pod_name": _pod_name(pod) if pod else ""}
    facts["container_name"] = after.parse_config().metadata.name
    if after.state is ContainerState.CREATED:
        facts |= {"image": after.image_ref, "handler": after.handler}
    elif after.state is ContainerState.EXITED:
        facts |= {"code": after.exit_code, "reason": after.reason}
    log.info(_OF_CONTAINERS[after.state], extra=facts)


def _pod_name(pod: PodRecord) -> str:
    metadata = pod.parse_config().metadata
    return f"{metadata.namespace}/{metadata.name}"
