"""The watch of devices in their pods, over made-up namespaces and socket pairs: when it looks, what it tells."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from crishim.errors import CrishimError, Kind
from crishim.linux.netlink import link_monitor, links, rtnetlink
from crishim.linux.netlink.links import IFF_LOWER_UP, IFF_UP
from crishim.netdev import pod_watch as module
from crishim.netdev.journal import Journal
from crishim.netdev.metrics import Metrics
from crishim.netdev.pod_watch import PodWatch
from crishim.netdev.presence import ATTACHED, Presence
from crishim.netdev.records import Attachment, Identity, State
from tests.unit.netdev.fake_executor import Threads
from tests.unit.netdev.fake_links import FakeEnd, attachment, veth

link_monitor.load()
WELL = IFF_UP | IFF_LOWER_UP
EVENT = rtnetlink.frame(links.RTM_NEWLINK, 0, 0, links.header(5) + rtnetlink.text(links.IFLA_IFNAME, "net1"))
GONE = rtnetlink.frame(links.RTM_DELLINK, 0, 0, links.header(5) + rtnetlink.text(links.IFLA_IFNAME, "net1"))


def is_heard(kernel: socket.socket) -> bool:
    """Send an event; False if the other end is full, or closed."""
    try:
        return kernel.send(EVENT) > 0
    except OSError:
        return False


class Scene:
    """A pod with net1 (ifindex 5), and the sockets that were opened in it."""

    def __init__(self, path: Path) -> None:
        self.journal = Journal(path / "journal")
        self.journal.load()
        self.metrics = Metrics()
        self.pod: Any = FakeEnd(veth(5, "net1", flags=WELL), inode=2)
        self.threads = Threads(self.pod)
        self.sockets: list[socket.socket] = []  # the kernel's ends
        self.watch = PodWatch(self.journal, self.metrics)
        self.known = attachment()

    def open_socket(self) -> socket.socket:
        kernel, mine = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        mine.setblocking(False)
        kernel.setblocking(False)
        self.sockets.append(kernel)
        return mine

    @property
    def looks(self) -> int:
        return len(self.threads.work)

    async def until_looks(self, count: int) -> None:
        async with asyncio.timeout(10):
            while self.looks < count:  # noqa: ASYNC110
                await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)

    async def change(self, event: bytes = EVENT, **fields: Any) -> Presence:
        """The pod changes its device; what is known after the look that follows."""
        if fields:
            self.pod.links[5] = replace(veth(5, "net1", flags=WELL), **fields)
        looks = self.looks
        self.sockets[-1].send(event)
        await self.until_looks(looks + 1)
        return self.watch.presence(self.known.id)

    def advance(self, state: State) -> Attachment:
        return self.journal.advance(self.known, state)


@pytest.fixture
async def scene(
    tmp_path: Path, fake_links: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Scene]:
    made = Scene(tmp_path)
    monkeypatch.setattr(module, "PAUSE", 0)
    monkeypatch.setattr(module, "SETTLING", 0)
    monkeypatch.setattr(module, "NetnsExecutor", made.threads)
    monkeypatch.setattr(link_monitor, "open_socket", made.open_socket)
    caplog.set_level("INFO")
    yield made
    await made.watch.close()
    assert made.journal.on_change is None
    assert made.threads.open == 0
    for kernel in made.sockets:
        assert not is_heard(kernel)
        kernel.close()


@pytest.fixture
async def attached(scene: Scene) -> Scene:
    """One that has had its first look."""
    scene.journal.open([scene.known])
    scene.watch.start()
    await scene.until_looks(1)
    return scene


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if hasattr(r, "before") and r.getMessage().startswith("network")]


async def test_no_device_costs_nothing(scene: Scene) -> None:
    """No socket, no thread, no look; not for a device that is on its way either."""
    scene.journal.open([attachment(state=State.INTENT)])
    scene.watch.start()
    for _ in range(50):
        await asyncio.sleep(0)
    assert (scene.sockets, scene.looks) == ([], 0)


async def test_one_that_is_attached_while_it_runs(scene: Scene) -> None:
    """Its first look is at once, with a socket in its pod."""
    scene.known = attachment(state=State.MOVED)
    scene.journal.open([scene.known])
    scene.watch.start()
    scene.advance(State.READY)
    await scene.until_looks(1)
    assert len(scene.sockets) == 1
    assert scene.threads.paths == [("/run/a",)]
    assert await scene.change(flags=0) == Presence(is_up=False, has_carrier=False)


async def test_what_becomes_of_it(attached: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """Each change is known, told once and counted; one that makes no difference is not told."""
    caplog.clear()
    assert await attached.change(mtu=9000) == ATTACHED
    assert await attached.change(flags=IFF_LOWER_UP) == Presence(is_up=False)
    assert await attached.change(flags=IFF_LOWER_UP, name="x") == Presence(is_up=False, renamed="x")
    assert await attached.change(flags=WELL) == ATTACHED
    del attached.pod.links[5]
    assert await attached.change(GONE) == Presence(is_there=False, why="deleted")
    assert told(caplog) == [
        "network device in its pod: down",
        "network device in its pod: down, renamed x",
        "network device as attached again",
        "network device in its pod: gone from its pod: deleted",
    ]
    assert attached.metrics.changes() == {"down": 1, "renamed": 1, "back": 1, "gone": 1}
    assert len(attached.sockets) == 1


async def test_its_socket_ends_with_its_last_device(attached: Scene) -> None:
    """Before the device is moved home: an open socket keeps the namespace. What was known of it is forgotten."""
    await attached.change(flags=0)
    attached.advance(State.RETURNING)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not is_heard(attached.sockets[0])
    assert not attached.watch.presence(attached.known.id).is_up  # the device is known still
    attached.advance(State.DONE)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert attached.watch.presence(attached.known.id) == ATTACHED
    assert (attached.watch._pods, attached.watch._due, attached.watch._known) == ({}, {}, {})


async def test_one_on_its_way_home_is_not_missed(attached: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """Its pod has another device, so the pod is looked at still; it leaves during that look."""
    find = attached.pod.find

    def find_later(key: int | str) -> Any:
        if key == 5 and attached.pod.links.pop(5, None):
            attached.advance(State.RETURNING)
        return find(key)

    other = attachment(id="f" * 16, name="net2", index=6, identity=Identity(inode=1006, kind="veth"))
    attached.pod.links[6] = veth(6, "net2", flags=WELL)
    attached.pod.devices[6] = 1006
    attached.journal.open([replace(other, state=State.MOVED)])
    attached.pod.find = find_later
    attached.journal.advance(other, State.READY)
    await attached.until_looks(2)
    assert 5 not in attached.pod.links
    assert [text for text in told(caplog) if "in its pod" in text] == []
    assert attached.watch.presence(attached.known.id) == attached.watch.presence(other.id) == ATTACHED


async def test_a_pod_that_changes_its_links_all_the_time(
    attached: Scene, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is listened to no more, and looked at once in PAUSE, each time with a new socket; one line says so."""
    monkeypatch.setattr(module, "PAUSE", 0.1)
    caplog.clear()
    begun, looks = asyncio.get_running_loop().time(), attached.looks
    async with asyncio.timeout(20):
        while attached.looks < looks + 5:
            for kernel in attached.sockets:
                while is_heard(kernel):
                    pass
            await asyncio.sleep(0)
    assert asyncio.get_running_loop().time() - begun > 0.1 * 3  # of five looks the first was due at once
    assert len(attached.sockets) >= 4
    assert [r.getMessage() for r in caplog.records].count(
        "a pod changes its links faster than is looked: once a second"
    ) == 1
    await attached.until_looks(attached.looks + 1)
    assert await attached.change(flags=0) == Presence(is_up=False, has_carrier=False)


@pytest.mark.parametrize("error", [OSError("x"), CrishimError(Kind.INTERNAL, "x")])
async def test_a_look_that_fails(
    scene: Scene, error: Exception, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is said and tried again, RETRY seconds later."""
    monkeypatch.setattr(module, "RETRY", 0)
    scene.threads.fails = error
    scene.journal.open([scene.known])
    scene.watch.start()
    async with asyncio.timeout(10):
        while not any("cannot be looked at" in r.getMessage() for r in caplog.records):  # noqa: ASYNC110
            await asyncio.sleep(0)
    scene.threads.fails = None
    await scene.until_looks(1)
    assert len(scene.sockets) == 1


async def test_another_namespace_at_its_path(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is said of the device: what is there is not its pod."""
    scene.pod.inode = 3
    before = len(os.listdir("/proc/self/fd"))
    scene.journal.open([scene.known])
    scene.watch.start()
    await scene.until_looks(1)
    assert scene.watch.presence(scene.known.id) == ATTACHED
    assert any("cannot be looked at" in r.getMessage() for r in caplog.records)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_when_a_look_is_due(attached: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """SETTLING after a change, not later for further ones; not at all for a pod without devices, or when they leave."""
    monkeypatch.setattr(module, "SETTLING", 1000)
    watch, pod = attached.watch, attached.known.pod.id
    begun = asyncio.get_running_loop().time()
    watch._look_soon(pod)
    due = watch._due[pod]
    assert due >= begun + 1000
    watch._look_soon(pod)
    watch._look_soon("another")
    assert watch._due == {pod: due}
    attached.advance(State.RETURNING)
    for _ in range(3):
        await asyncio.sleep(0)
    assert watch._due == {}


async def test_when_a_look_that_failed_is_repeated(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.threads.fails = OSError("x")
    scene.journal.open([scene.known])
    begun = asyncio.get_running_loop().time()
    scene.watch.start()
    async with asyncio.timeout(10):
        while not any("cannot be looked at" in text for text in caplog.messages):  # noqa: ASYNC110
            await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert scene.watch._due[scene.known.pod.id] >= begun + module.RETRY


async def test_its_end(attached: Scene) -> None:
    """Task and sockets are closed when close() is; a second time, or without a start, it does nothing."""
    turns = 0

    async def slow() -> None:
        nonlocal turns
        try:
            await asyncio.Event().wait()
        finally:
            for turns in range(5):  # noqa: B007
                await asyncio.sleep(0)

    watch = attached.watch
    assert watch._task is not None
    watch._task.cancel()
    watch._task = asyncio.create_task(slow())
    await asyncio.sleep(0)
    await watch.close()
    assert (turns, watch._pods) == (4, {})
    assert not is_heard(attached.sockets[0])
    await watch.close()
    await PodWatch(attached.journal, attached.metrics).close()
