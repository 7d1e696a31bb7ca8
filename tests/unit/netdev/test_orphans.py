"""Devices that are neither attached nor as they were: which are looked for, when, and by what."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from crishim.linux.netlink.links import Link
from crishim.netdev import orphans as module
from crishim.netdev.journal import Journal
from crishim.netdev.orphans import Named, Orphans, outlives_its_pod
from crishim.netdev.records import Attachment, Captured, DeviceRequest, Identity, Source, State
from tests.unit.netdev.fake_executor import Threads
from tests.unit.netdev.fake_links import FakeEnd, attachment, veth

CARD = Identity(inode=9, bus="pci", bus_device="0000:03:00.0", permanent_mac=b"\2\0\0\0\0\1")


class Scene:
    """A journal with attachments, a host, and what was given back from where."""

    def __init__(self, path: Path) -> None:
        self.journal = Journal(path / "journal")
        self.journal.load()
        self.host: Any = FakeEnd()
        self.lock = asyncio.Lock()
        self.returned: list[tuple[str, str, bool]] = []
        self.locked_for: list[str] = []
        self.threads = Threads(self.host)
        self.orphans = Orphans(self.journal, Path("/host"), self._lock, self._give_back)

    def _lock(self, pod: str) -> asyncio.Lock:
        self.locked_for.append(pod)
        return self.lock

    async def _give_back(self, found: Sequence[Attachment], netns: str) -> None:
        self.returned += [(a.device, netns, self.lock.locked()) for a in found]

    def known(self, number: int, state: State, **fields: Any) -> Attachment:
        """demo7 with ifindex 7."""
        host = Captured(index=number, name=f"demo{number}", kind="veth", altnames=(f"also{number}",))
        defaults: dict[str, Any] = {"identity": Identity(inode=1000 + number, kind="veth"), "host": host}
        made = attachment(id=f"{number:016x}", state=state, since=number, **defaults | fields)
        self.journal.open([made])
        return made


@pytest.fixture
def scene(tmp_path: Path, fake_links: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    made = Scene(tmp_path)
    monkeypatch.setattr(module, "NetnsExecutor", made.threads)
    yield made
    assert made.threads.open == 0
    assert set(made.threads.paths) <= {("/host",)}


@pytest.mark.parametrize("state", [s for s in State if s is not State.DONE])
async def test_what_is_tried_again(scene: Scene, state: State) -> None:
    """LOST and DOWN, and what is asked for besides; under its pod's lock, as the journal knows it now."""
    known = scene.known(5, state)
    stale = replace(known, state=State.LOST)
    await scene.orphans.retry(stale, "/run/a")
    assert scene.returned == ([("demo5", "/run/a", True)] if state in (State.LOST, State.DOWN) else [])
    assert scene.locked_for == ["pod-a"]
    scene.returned.clear()
    await scene.orphans.retry(known, also=frozenset({state}))
    assert scene.returned == [("demo5", "", True)]
    scene.returned.clear()
    scene.journal.drop(known)
    await scene.orphans.retry(stale)
    assert scene.returned == []


async def test_what_is_asked_for_comes_home_first(scene: Scene) -> None:
    """By its name or an altname, if it is LOST or DOWN."""
    for number, state in ((5, State.LOST), (6, State.DOWN), (7, State.READY), (8, State.LOST)):
        scene.known(number, state)
    asked = [DeviceRequest(device=name, source=Source.CDI) for name in ("demo5", "also6", "demo7", "other")]
    await scene.orphans.fetch_requested(asked)
    assert [name for name, _, _ in scene.returned] == ["demo5", "demo6"]


@pytest.mark.parametrize(
    ("state", "fields", "link", "worth"),
    [
        (State.LOST, {}, veth(9, "x"), True),
        (State.LOST, {}, veth(9, "x", kind="ifb"), False),
        (State.READY, {}, veth(9, "x"), False),
        (State.READY, {}, veth(9, "x", altnames=(f"crishim-{5:016x}",)), True),
        (State.READY, {}, veth(9, "x", altnames=(f"crishim-{5:016x}",), kind="ifb"), False),
        (State.DOWN, {}, veth(9, "x", altnames=(f"crishim-{5:016x}",)), False),
        (State.READY, {"identity": CARD}, Link(index=9, name="x"), False),
        (
            State.READY,
            {"identity": CARD},
            Link(index=9, name="x", bus="pci", bus_device="0000:03:00.0", permanent_mac=b"\2\0\0\0\0\1"),
            True,
        ),
    ],
)
async def test_links_worth_a_look(scene: Scene, state: State, fields: dict[str, Any], link: Link, worth: bool) -> None:
    """A LOST one may be any of its kind; of a READY one there has to be a sign."""
    scene.known(5, state, **fields)
    assert scene.orphans.may_be_one(link) is worth


async def test_what_turned_up(scene: Scene) -> None:
    """Among the links that changed, or among all; READY ones are given back, too."""
    scene.known(5, State.LOST)
    scene.known(6, State.READY)
    scene.known(7, State.DOWN)
    for index in (5, 6, 7, 8):
        scene.host.links[index] = veth(index, f"x{index}")
        scene.host.devices[index] = 1000 + index
    await scene.orphans.fetch([scene.host.links[5], scene.host.links[8]])
    assert [name for name, _, _ in scene.returned] == ["demo5"]
    scene.returned.clear()
    await scene.orphans.fetch(None)
    assert [name for name, _, _ in scene.returned] == ["demo5", "demo6"]
    scene.returned.clear()
    del scene.host.links[5]
    await scene.orphans.fetch(None)
    assert [name for name, _, _ in scene.returned] == ["demo6"]


async def test_nothing_to_look_for(scene: Scene) -> None:
    """No thread is started: nothing is missing, or nothing changed."""
    scene.known(7, State.DOWN)
    await scene.orphans.fetch(None)
    scene.known(5, State.LOST)
    await scene.orphans.fetch([])
    assert scene.threads.paths == []
    await scene.orphans.fetch(None)
    assert len(scene.threads.paths) == 1


async def test_a_name_is_given_back(scene: Scene) -> None:
    """Unless it has it, or somebody else has, or it is gone, or is called otherwise than it was."""
    known = scene.known(5, State.LOST)
    assert await scene.orphans.name_again(known) == Named()
    scene.host.links[5], scene.host.devices[5] = veth(5, "ens5"), 1005
    scene.host.links[6], scene.host.devices[6] = veth(6, "demo5"), 1006
    assert await scene.orphans.name_again(known) == Named(called="ens5")
    assert await scene.orphans.name_again(known, "ens5") == Named(called="ens5")
    del scene.host.links[6]
    assert await scene.orphans.name_again(known, "ens6") == Named()
    assert await scene.orphans.name_again(known, "ens5") == Named(done=True)
    assert scene.host.links[5].name == "demo5"
    assert await scene.orphans.name_again(known) == Named()
    assert len(scene.host.done) == 1


@pytest.mark.parametrize(
    ("state", "identity", "kept"),
    [
        (State.LOST, CARD, True),
        (State.DOWN, CARD, False),
        (State.LOST, Identity(inode=5, kind="veth"), False),
        (State.LOST, replace(CARD, permanent_mac=b""), False),
    ],
)
def test_what_outlives_its_pod(state: State, identity: Identity, kept: bool) -> None:
    assert outlives_its_pod(attachment(state=state, identity=identity)) is kept
