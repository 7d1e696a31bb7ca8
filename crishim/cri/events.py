"""GetContainerEvents: every change of a container's or a pod's life, as it is published by the stores.

A subscriber that reads too slowly is cut off (its stream ends) rather than let memory grow or events go missing in
between: the kubelet then relists and subscribes anew.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial

from crishim.cri.containers import container_status
from crishim.cri.pods import pod_status
from crishim.cri.server import Functions
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState, PodState, is_visible_container, is_visible_pod
from crishim.model import ContainerRecord, PodRecord
from crishim.pb import cri_pb2 as cri
from crishim.state.store import Store

QUEUE = 1000  # events a subscriber may lag behind


class Subscriber:
    """One client's queue."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[cri.ContainerEventResponse | None] = asyncio.Queue(QUEUE)
        self.overrun = False

    def put(self, event: cri.ContainerEventResponse) -> None:
        try:
            self.queue.put_nowait(event)
        except asyncio.QueueFull:
            self.overrun = True


def functions(*, pods: Store[PodRecord], containers: Store[ContainerRecord]) -> Functions:
    return {"GetContainerEvents": partial(_subscribe, pods, containers)}


async def _subscribe(
    pods: Store[PodRecord], containers: Store[ContainerRecord], request: cri.GetEventsRequest
) -> AsyncIterator[cri.ContainerEventResponse]:
    subscriber = Subscriber()

    def on_container(before: ContainerRecord | None, after: ContainerRecord | None) -> None:
        kind = container_event(before, after)
        record = after or before
        if kind is not None and record is not None:
            subscriber.put(_event(kind, record.id, pods.get(record.pod_id), containers))

    def on_pod(before: PodRecord | None, after: PodRecord | None) -> None:
        kind = pod_event(before, after)
        record = after or before
        if kind is not None and record is not None:
            subscriber.put(_event(kind, record.id, record, containers))

    with pods.listening(on_pod), containers.listening(on_container):
        while not subscriber.overrun:
            event = await subscriber.queue.get()
            if event is not None:
                yield event
        raise CrishimError(Kind.ABORTED, f"the client lags more than {QUEUE} events behind: subscribe again")


def container_event(
    before: ContainerRecord | None, after: ContainerRecord | None
) -> "cri.ContainerEventType.ValueType | None":
    """Which event a change of a container is, if any."""
    if after is None:
        return cri.CONTAINER_DELETED_EVENT if before and is_visible_container(before.state) else None
    was = before.state if before else None
    if after.state is was:
        return None
    return {
        ContainerState.CREATED: cri.CONTAINER_CREATED_EVENT if was is ContainerState.CREATING else None,
        ContainerState.RUNNING: cri.CONTAINER_STARTED_EVENT,
        ContainerState.EXITED: cri.CONTAINER_STOPPED_EVENT,
    }.get(after.state)


def pod_event(before: PodRecord | None, after: PodRecord | None) -> "cri.ContainerEventType.ValueType | None":
    """Which event a change of a pod is, if any; the CRI calls pods containers here."""
    if after is None:
        return cri.CONTAINER_DELETED_EVENT if before and is_visible_pod(before.state) else None
    was = before.state if before else None
    if after.state is was:
        return None
    return {
        PodState.READY: cri.CONTAINER_STARTED_EVENT,
        PodState.NOTREADY: cri.CONTAINER_STOPPED_EVENT,
    }.get(after.state)


def _event(
    kind: "cri.ContainerEventType.ValueType", id: str, pod: PodRecord | None, containers: Store[ContainerRecord]
) -> cri.ContainerEventResponse:
    event = cri.ContainerEventResponse(container_id=id, container_event_type=kind, created_at=time.time_ns())
    if pod is not None:
        event.pod_sandbox_status.CopyFrom(pod_status(pod))
        mine = [c for c in containers if c.pod_id == pod.id and is_visible_container(c.state)]
        event.containers_statuses.extend(container_status(c) for c in mine)
    return event
