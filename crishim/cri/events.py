"""GetContainerEvents: lifecycle events of containers and pods, made from the changes the stores publish.

A subscriber that lags is disconnected (state/subscribers.py): the kubelet then relists and subscribes again.
"""

import time
from collections.abc import AsyncIterator
from typing import TypeAlias

from crishim.cri.containers import container_status
from crishim.cri.pods import pod_status
from crishim.lifecycle import ContainerState, PodState, is_visible_container, is_visible_pod
from crishim.model import ContainerRecord, PodRecord
from crishim.node import Node
from crishim.operations.exits import START_FAILED
from crishim.pb import cri_pb2 as cri
from crishim.state.store import Store

Event: TypeAlias = "cri.ContainerEventType.ValueType"


async def GetContainerEvents(node: Node, request: cri.GetEventsRequest) -> AsyncIterator[cri.ContainerEventResponse]:
    with node.subscribers.subscribed() as subscriber:

        def on_container(before: ContainerRecord | None, after: ContainerRecord | None) -> None:
            record = after or before
            for kind in container_events(before, after):
                assert record is not None
                subscriber.put(_event(kind, record.id, node.pods.get(record.pod_id), node.containers))

        def on_pod(before: PodRecord | None, after: PodRecord | None) -> None:
            record = after or before
            for kind in pod_events(before, after):
                assert record is not None
                subscriber.put(_event(kind, record.id, record, node.containers))

        with node.pods.listening(on_pod), node.containers.listening(on_container):
            async for event in node.subscribers.changes(subscriber):
                yield event


def container_events(before: ContainerRecord | None, after: ContainerRecord | None) -> list[Event]:
    """The events of a container's change: STARTED and STOPPED if it exited before it was recorded as running."""
    if after is None or after.state is ContainerState.REMOVING:
        return [cri.CONTAINER_DELETED_EVENT] if before and is_visible_container(before.state) else []
    was = before.state if before else None
    if after.state is was:
        return []
    if after.state is ContainerState.CREATED:
        return [cri.CONTAINER_CREATED_EVENT] if was is ContainerState.CREATING else []
    if after.state is ContainerState.RUNNING:
        return [cri.CONTAINER_STARTED_EVENT]
    if after.state is ContainerState.EXITED:
        unseen = was is ContainerState.STARTING and after.reason != START_FAILED
        return [cri.CONTAINER_STARTED_EVENT, cri.CONTAINER_STOPPED_EVENT] if unseen else [cri.CONTAINER_STOPPED_EVENT]
    return []


def pod_events(before: PodRecord | None, after: PodRecord | None) -> list[Event]:
    """The events of a pod's change. CRI has container event types only; a pod is created and started at once."""
    if after is None or after.state is PodState.REMOVING:
        return [cri.CONTAINER_DELETED_EVENT] if before and is_visible_pod(before.state) else []
    was = before.state if before else None
    if after.state is was:
        return []
    if after.state is PodState.READY:
        return [cri.CONTAINER_CREATED_EVENT, cri.CONTAINER_STARTED_EVENT]
    return [cri.CONTAINER_STOPPED_EVENT] if after.state is PodState.NOTREADY else []


def _event(
    kind: Event, id: str, pod: PodRecord | None, containers: Store[ContainerRecord]
) -> cri.ContainerEventResponse:
    event = cri.ContainerEventResponse(container_id=id, container_event_type=kind, created_at=time.time_ns())
    if pod is not None:
        event.pod_sandbox_status.CopyFrom(pod_status(pod))
        mine = [c for c in containers if c.pod_id == pod.id and is_visible_container(c.state)]
        event.containers_statuses.extend(container_status(c) for c in mine)
    return event
