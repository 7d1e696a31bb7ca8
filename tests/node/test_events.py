"""GetContainerEvents: what a subscriber sees of lives on the node."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.support.daemon import Daemon, eventually
from tests.support.pods import container_config, create, pod_config, remove_pod, run_pod, start, wait_exited

pytestmark = pytest.mark.node
CREATED, STARTED = cri.CONTAINER_CREATED_EVENT, cri.CONTAINER_STARTED_EVENT
STOPPED, DELETED = cri.CONTAINER_STOPPED_EVENT, cri.CONTAINER_DELETED_EVENT


class Subscription:
    """A stream, read in a thread."""

    def __init__(self, daemon: Daemon) -> None:
        self.stream = daemon.call("GetContainerEvents", deadline=60)
        self.events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        # The call is on its way only: a pod's creation is seen once the daemon has it.
        probe = 0

        def listening() -> bool:
            nonlocal probe
            pod = run_pod(daemon, pod_config(f"probe{probe}"))
            remove_pod(daemon, pod)
            probe += 1
            return not self.events.empty()

        eventually(listening, "the stream is open")
        while self.next().container_event_type != DELETED:
            pass

    def _read(self) -> None:
        try:
            for event in self.stream:
                self.events.put(event)
        except grpc.RpcError:
            pass

    def next(self) -> Any:
        return self.events.get(timeout=10)

    def end(self) -> None:
        self.stream.cancel()
        self._thread.join(10)


@pytest.fixture
def subscription(daemon: Daemon) -> Iterator[Subscription]:
    subscription = Subscription(daemon)
    yield subscription
    subscription.end()


@pytest.mark.fact("GetContainerEvents", "events carry pod metadata")
def test_a_life_in_events(daemon: Daemon, subscription: Subscription) -> None:
    """CREATED, STARTED, STOPPED, DELETED of the pod and its container, in order, with complete statuses."""
    pod = run_pod(daemon, pod_config("evented"))
    container = start(daemon, pod)
    daemon.call("StopContainer", container_id=container, timeout=0)
    daemon.call("StopPodSandbox", pod_sandbox_id=pod)
    daemon.call("RemovePodSandbox", pod_sandbox_id=pod)
    seen = []
    while (pod, DELETED) not in seen:
        event = subscription.next()
        seen.append((event.container_id, event.container_event_type))
        assert event.created_at > 0
        assert event.pod_sandbox_status.id == pod
        assert event.pod_sandbox_status.metadata.name == "evented"
        statuses = {c.id: c for c in event.containers_statuses}
        if seen[-1] == (container, STOPPED):
            assert (statuses[container].state, statuses[container].exit_code) == (cri.CONTAINER_EXITED, 137)
            assert event.pod_sandbox_status.state == cri.SANDBOX_READY
        if seen[-1] == (container, STARTED):
            assert statuses[container].state == cri.CONTAINER_RUNNING
    assert seen == [
        (pod, CREATED),
        (pod, STARTED),
        (container, CREATED),
        (container, STARTED),
        (container, STOPPED),
        (pod, STOPPED),
        (container, DELETED),
        (pod, DELETED),
    ]


def test_what_failed_was_never_there(daemon: Daemon, subscription: Subscription) -> None:
    """A container or pod that could not be made gives no event; a command that ends at once was STARTED too."""
    pod = run_pod(daemon)
    with pytest.raises(grpc.RpcError):
        create(daemon, pod, container_config(command=["/no/such"]))
    short = start(daemon, pod, container_config("short", command=["true"]))
    wait_exited(daemon, short)
    remove_pod(daemon, pod)
    seen = []
    while (pod, DELETED) not in seen:
        event = subscription.next()
        seen.append((event.container_id, event.container_event_type))
    assert [kind for id, kind in seen if id == short] == [CREATED, STARTED, STOPPED, DELETED]
    assert {id for id, _ in seen} == {pod, short}


def test_subscribers_come_and_go(daemon: Daemon, subscription: Subscription) -> None:
    """Each subscriber sees all; one that leaves takes nothing along."""
    second = Subscription(daemon)
    while not subscription.events.empty():
        subscription.next()
    pod = run_pod(daemon, pod_config("both"))
    for one in (subscription, second):
        seen = one.next()
        while seen.pod_sandbox_status.metadata.name != "both":
            seen = one.next()
        assert (seen.container_id, seen.container_event_type) == (pod, CREATED)
    second.end()
    remove_pod(daemon, pod)
    eventually(lambda: subscription.next().container_event_type == DELETED, "it sees the end")
