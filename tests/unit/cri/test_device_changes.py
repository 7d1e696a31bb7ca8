"""StreamNetDeviceChanges: each state of each device's way, as the journal comes to it."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from crishim.cri.device_changes import StreamNetDeviceChanges
from crishim.errors import CrishimError, Kind
from crishim.netdev.journal import Journal
from crishim.netdev.records import Attachment, Captured, Mover, PodRef, State
from crishim.node import Node
from crishim.pb import admin_pb2 as admin
from crishim.state.subscribers import QUEUE
from tests.support.nodes import make_node


def attachment(id: str = "0123456789abcdef", name: str = "demo0") -> Attachment:
    return Attachment(
        id=id,
        pod=PodRef(id="pod-a", netns="/run/x", title="default/web"),
        netns_inode=7,
        state=State.INTENT,
        mover=Mover.BUILTIN,
        sources=("annotation",),
        wanted="net1",
        name="net1",
        host=Captured(index=5, name=name),
    )


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(tmp_path / "journal")
    made.load()
    return made


@pytest.fixture
def node(tmp_path: Path, journal: Journal) -> Node:
    return make_node(tmp_path / "node", netdevices=SimpleNamespace(listening=journal.listening))


async def subscribed(node: Node) -> "asyncio.Task[list[admin.NetDeviceChange]]":
    async def read() -> list[admin.NetDeviceChange]:
        return [change async for change in StreamNetDeviceChanges(node, admin.StreamNetDeviceChangesRequest())]

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    return task


def live(journal: Journal) -> None:
    journal.open([attachment()])
    for state in (State.MOVED, State.READY, State.READY, State.RETURNING, State.DONE):
        journal.advance(attachment(), state)


async def test_a_way(node: Node, journal: Journal) -> None:
    """Told in their order, whichever thread they happen in; a state that stays is none."""
    task = await subscribed(node)
    await asyncio.to_thread(live, journal)
    await asyncio.sleep(0)
    node.subscribers.close()
    async with asyncio.timeout(10):
        changes = await task
    assert [change.state for change in changes] == ["intent", "moved", "ready", "returning", "done"]
    assert [change.at for change in changes] == sorted(change.at for change in changes)
    assert {(c.id, c.host_name, c.name, c.pod, c.pod_sandbox_id) for c in changes} == {
        ("0123456789abcdef", "demo0", "net1", "default/web", "pod-a")
    }
    live(journal)  # nobody listens any more


async def test_a_client_that_lags_is_cut_off(node: Node, journal: Journal) -> None:
    stream = StreamNetDeviceChanges(node, admin.StreamNetDeviceChangesRequest())
    first = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    for number in range(QUEUE + 2):
        journal.open([attachment(id=f"{number:016x}")])
    await first
    with pytest.raises(CrishimError, match="subscribe again") as caught:
        async for _ in stream:
            pass
    assert caught.value.kind is Kind.ABORTED
