"""GetContainerEvents: every change of a container's or a pod's life, as it is published by the stores.

A subscriber that reads too slowly is cut off (its stream ends) rather than let memory grow or events go missing in
between: the kubelet then relists and subscribes anew.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import TypeAlias

from crishim.cri.containers import container_status
from crishim.cri.pods import pod_status
from crishim.cri.server import Functions
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState, PodState, is_visible_container, is_visible_pod
from crishim.model import ContainerRecord, PodRecord
from crishim.pb import cri_pb2 as cri
from crishim.state.store import Store
from crishim.verbs.exits import START_FAILED

QUEUE = 1000  # events a subscriber may lag behind

Event: TypeAlias = "cri.ContainerEventType.ValueType"


class Subscriber:
    """One client's queue; None in it is the end."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[cri.ContainerEventResponse | None] = asyncio.Queue(QUEUE)
        self.overrun = False

    def put(self, event: cri.ContainerEventResponse) -> None:
        try:
            self.queue.put_nowait(event)
        except asyncio.QueueFull:
            self.overrun = True

    def end(self) -> None:
        """Let the stream end once what is queued was sent."""
        with contextlib.suppress(asyncio.QueueFull):
            self.queue.put_nowait(None)


class Events:
    """The subscribers of now."""

    def __init__(self, pods: Store[PodRecord], containers: Store[ContainerRecord]) -> None:
        self._pods = pods
        self._containers = containers
        self._subscribers: set[Subscriber] = set()
        self._closed = False

    def functions(self) -> Functions:
        return {"GetContainerEvents": self.subscribe}

    def close(self) -> None:
        """End every stream, those to come too: a server that shuts down would wait for them otherwise."""
        self._closed = True
        for subscriber in self._subscribers:
            subscriber.end()

    async def subscribe(self, request: cri.GetEventsRequest) -> AsyncIterator[cri.ContainerEventResponse]:
        subscriber = Subscriber()

        def on_container(before: ContainerRecord | None, after: ContainerRecord | None) -> None:
            record = after or before
            for kind in container_events(before, after):
                assert record is not None
                subscriber.put(_event(kind, record.id, self._pods.get(record.pod_id), self._containers))

        def on_pod(before: PodRecord | None, after: PodRecord | None) -> None:
            record = after or before
            for kind in pod_events(before, after):
                assert record is not None
                subscriber.put(_event(kind, record.id, record, self._containers))

        self._subscribers.add(subscriber)
        try:
            with self._pods.listening(on_pod), self._containers.listening(on_container):
                while not subscriber.overrun and not (self._closed and subscriber.queue.empty()):
                    event = await subscriber.queue.get()
                    if event is None:
                        return
                    yield event
        finally:
            self._subscribers.discard(subscriber)
        if subscriber.overrun:
            raise CrishimError(Kind.ABORTED, f"the client lags more than {QUEUE} events behind: subscribe again")


def container_events(before: ContainerRecord | None, after: ContainerRecord | None) -> list[Event]:
    """Which events a change of a container is; a command may be over before it was seen to run, and did start."""
    if after is None:
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
    """Which events a change of a pod is; the CRI calls pods containers here. A pod is started as it is created."""
    if after is None:
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
