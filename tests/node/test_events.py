"""GetContainerEvents through a pod's life, and when the daemon ends."""

import signal
import threading
import time
from typing import Any

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.node.daemon import Daemon, eventually, scratch_daemon
from tests.node.pods import container_config, remove_pod, run_pod, start, wait_exited

pytestmark = pytest.mark.node
NAMES = {
    number: name.removeprefix("CONTAINER_").removesuffix("_EVENT") for name, number in cri.ContainerEventType.items()
}


class Client:
    """Reads events in a thread of its own."""

    def __init__(self, daemon: Daemon) -> None:
        self.events: list[cri.ContainerEventResponse] = []
        self.code: grpc.StatusCode | None = None
        self._call: Any = daemon.call("GetContainerEvents", deadline=60)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            self.events.extend(self._call)
        except grpc.RpcError as error:
            self.code = error.code()

    def told(self, pod: str) -> list[str]:
        """The events so far, in words."""
        return [("pod " if e.container_id == pod else "") + NAMES[e.container_event_type] for e in self.events]

    def end(self) -> None:
        self._call.cancel()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def wait(self) -> None:
        """Until the server ends the stream."""
        self._thread.join(10)
        assert not self._thread.is_alive(), "the stream goes on"


def subscribed(daemon: Daemon) -> Client:
    """A client whose subscription is known to be in force: it saw a pod of its own."""
    client = Client(daemon)
    while not client.events:
        remove_pod(daemon, run_pod(daemon))
    return client


def test_a_life_in_events(daemon: Daemon) -> None:
    """Row GetContainerEvents: each change once, with the pod's status and those of all its containers."""
    client = subscribed(daemon)
    eventually(lambda: client.events[-1].container_event_type == cri.CONTAINER_DELETED_EVENT, "the first pod is gone")
    client.events.clear()
    pod = run_pod(daemon)
    first = start(daemon, pod, container_config(name="a", command=["sh", "-c", "exit 3"]))
    wait_exited(daemon, first)
    start(daemon, pod, container_config(name="b"))
    remove_pod(daemon, pod)
    eventually(lambda: client.told(pod)[-1:] == ["pod DELETED"], "the pod's end is told")
    client.end()
    life = ["CREATED", "STARTED", "STOPPED"]
    assert client.told(pod) == [
        *("pod CREATED", "pod STARTED"),
        *life,
        *life,
        *("pod STOPPED", "DELETED", "DELETED", "pod DELETED"),
    ]
    ended = client.events[4]
    assert (ended.container_id, ended.pod_sandbox_status.id) == (first, pod)
    assert ended.pod_sandbox_status.metadata.namespace == "test"
    assert [(c.id, c.state, c.exit_code) for c in ended.containers_statuses] == [(first, cri.CONTAINER_EXITED, 3)]
    assert first in [c.id for c in client.events[7].containers_statuses]
    assert all(e.created_at > 0 for e in client.events)


def test_a_subscriber_does_not_hold_up_the_daemons_end() -> None:
    """SIGTERM ends event streams at once, long before the drain timeout: the kubelet is always subscribed."""
    with scratch_daemon(drain_timeout=30) as daemon:
        client = subscribed(daemon)
        time_asked = time.monotonic()
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        daemon.process.wait(20)
        assert time.monotonic() - time_asked < 15
        client.wait()
