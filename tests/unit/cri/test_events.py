"""Events: which changes of records are told, and how a stream of them ends."""

import asyncio
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from crishim.cri.events import GetContainerEvents, container_events, pod_events
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState as C
from crishim.lifecycle import PodState as P
from crishim.model import ContainerRecord
from crishim.node import Node
from crishim.pb import cri_pb2 as cri
from crishim.state.store import Store
from crishim.state.subscribers import QUEUE
from tests.support.nodes import make_node
from tests.unit.cri.records import container, pod

CREATED, STARTED = cri.CONTAINER_CREATED_EVENT, cri.CONTAINER_STARTED_EVENT
STOPPED, DELETED = cri.CONTAINER_STOPPED_EVENT, cri.CONTAINER_DELETED_EVENT


@pytest.mark.parametrize(
    ("before", "after", "events"),
    [
        (None, C.CREATING, []),
        (C.CREATING, C.CREATED, [CREATED]),
        (C.CREATED, C.STARTING, []),
        (C.STARTING, C.RUNNING, [STARTED]),
        (C.STARTING, C.CREATED, []),
        (C.RUNNING, C.EXITED, [STOPPED]),
        (C.STARTING, C.EXITED, [STARTED, STOPPED]),
        (C.CREATED, C.EXITED, [STOPPED]),
        (C.EXITED, C.REMOVING, [DELETED]),
        (C.REMOVING, None, []),
        (C.CREATING, C.REMOVING, []),
        (C.CREATING, None, []),
        (C.RUNNING, C.RUNNING, []),
    ],
)
def test_a_containers_changes(before: C | None, after: C | None, events: list[int]) -> None:
    """Row GetContainerEvents: CREATED, STARTED, STOPPED and DELETED, each once, also of a command over at once."""
    old, new = (container(state=s) if s else None for s in (before, after))
    assert container_events(old, new) == events


def test_a_start_that_failed_is_no_start() -> None:
    """The container stops without having started."""
    assert container_events(container(state=C.STARTING), container(state=C.EXITED, reason="StartError")) == [STOPPED]


@pytest.mark.parametrize(
    ("before", "after", "events"),
    [
        (None, P.CREATING, []),
        (P.CREATING, P.READY, [CREATED, STARTED]),
        (P.READY, P.STOPPING, []),
        (P.STOPPING, P.NOTREADY, [STOPPED]),
        (P.READY, P.NOTREADY, [STOPPED]),
        (P.NOTREADY, P.REMOVING, [DELETED]),
        (P.REMOVING, None, []),
        (P.CREATING, None, []),
    ],
)
def test_a_pods_changes(before: P | None, after: P | None, events: list[int]) -> None:
    """A pod that never became one is not told of."""
    old, new = (pod(state=s) if s else None for s in (before, after))
    assert pod_events(old, new) == events


@pytest.fixture
async def node(tmp_path: Path) -> Node:
    """A pod with an exited and a running container."""
    containers = Store(tmp_path / "c", ContainerRecord, "container", lambda a, b: None)
    containers.load()
    node = make_node(tmp_path, containers=containers)
    await node.pods.add(pod())
    await containers.add(container("old", state=C.EXITED))
    await containers.add(container("new"))
    return node


async def subscribed(node: Node) -> tuple["asyncio.Task[list[cri.ContainerEventResponse]]", asyncio.Event]:
    """A client that reads to the end, at work."""
    going = asyncio.Event()

    async def read() -> list[cri.ContainerEventResponse]:
        stream = GetContainerEvents(node, cri.GetEventsRequest())
        asyncio.get_running_loop().call_soon(going.set)
        return [event async for event in stream]

    task = asyncio.create_task(read())
    await going.wait()
    return task, going


@pytest.mark.fact("GetContainerEvents")
async def test_an_event_carries_the_pod_and_all_its_containers(node: Node) -> None:
    """The kubelet's only source: exited containers are in it, and the pod's metadata."""
    task, _ = await subscribed(node)
    await node.containers.update("new", lambda c: replace(c, state=C.EXITED, exit_code=3))
    node.subscribers.close()
    async with asyncio.timeout(5):
        (event,) = await task
    assert (event.container_id, event.container_event_type) == ("new", STOPPED)
    assert event.pod_sandbox_status.metadata.uid == "uid-p1"
    assert sorted((c.id, c.exit_code) for c in event.containers_statuses) == [("new", 3), ("old", 0)]
    assert event.created_at > 0


async def test_streams_end_when_the_daemon_does(node: Node) -> None:
    """What is queued is still sent, and who subscribes during the shutdown gets an end at once."""
    task, _ = await subscribed(node)
    node.subscribers.close()
    async with asyncio.timeout(5):
        assert await task == []
        assert [e async for e in GetContainerEvents(node, cri.GetEventsRequest())] == []


async def test_a_client_that_lags_is_cut_off(node: Node) -> None:
    """Memory is bounded: the stream ends with an error that says so."""
    stream = GetContainerEvents(node, cri.GetEventsRequest())
    first = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    for number in range(QUEUE + 2):
        await node.containers.update("new", partial(replace, state=C.RUNNING if number % 2 else C.EXITED))
    await first
    with pytest.raises(CrishimError) as caught:
        async for _ in stream:
            pass
    assert caught.value.kind is Kind.ABORTED
