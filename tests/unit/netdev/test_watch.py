"""The watch without a kernel: which changes of links wake it, and what it does then."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from crishim.device_rules import Rule
from crishim.errors import CrishimError, Kind
from crishim.linux.netlink.links import Link
from crishim.netdev import watch as module
from crishim.netdev.arrivals import Arrivals
from crishim.netdev.orphans import Named
from crishim.netdev.policy import Policy
from crishim.netdev.records import Attachment, State
from crishim.netdev.watch import NAMED_FOR, Watch
from tests.unit.netdev.fake_executor import Threads
from tests.unit.netdev.fake_links import FakeEnd, attachment, veth

KNOWN, OTHER = attachment(), attachment(id="f" * 16)


class Orphans:
    """What the watch asks for. looks: each fetch's candidates; renamed: whose names it was asked for."""

    def __init__(self) -> None:
        self.interesting = {7}
        self.looks: list[list[int] | None] = []
        self.names: list[str] = []
        self.retried: list[str] = []
        self.was_renamed = False
        self.called = ""
        self.fails: Exception | None = None
        self.looked = asyncio.Event()

    def may_be_one(self, link: Link) -> bool:
        return link.index in self.interesting

    async def fetch(self, candidates: list[Link] | None) -> None:
        self.looks.append(None if candidates is None else [x.index for x in candidates])
        self.looked.set()
        if self.fails is not None:
            raise self.fails

    async def name_again(self, known: Attachment, called: str = "") -> Named:
        self.names.append(known.id + called)
        return Named(self.was_renamed, self.called)

    async def retry(self, known: Attachment) -> None:
        self.retried.append(known.id)

    async def look(self) -> None:
        """Wait for the next one."""
        await asyncio.wait_for(self.looked.wait(), 5)
        self.looked.clear()


class Events:
    """LinkEvents: tell() is the kernel's."""

    def __init__(self, netns: Path, tell: Any, gone: Any) -> None:
        self.netns, self.tell, self.gone = netns, tell, gone
        self.started = self.closed = False

    def start(self) -> None:
        self.started = True

    def close(self) -> None:
        self.closed = True


class Scene:
    def __init__(self) -> None:
        self.orphans = Orphans()
        self.attachments: list[Attachment] = []
        self.journal: Any = type("Journal", (), {"on_return": None, "all": lambda _: self.attachments})()
        orphans: Any = self.orphans
        self.threads = Threads(FakeEnd(veth(3, "there")))
        self.arrivals = Arrivals(Policy([Rule(devices=["*"], namespaces=["*"])]))
        self.watch = Watch(orphans, self.journal, Path("/host"), self.arrivals)
        self.events: Any = None

    def opened(self, netns: Path, tell: Any, gone: Any) -> Events:
        events = self.events = Events(netns, tell, gone)
        return events


@pytest.fixture
async def scene(fake_links: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    """A watch that has had its first look."""
    made = Scene()
    monkeypatch.setattr(module, "PAUSE", 0)
    monkeypatch.setattr(module, "LinkEvents", made.opened)
    monkeypatch.setattr(module, "NetnsExecutor", made.threads)
    await made.watch.start()
    assert made.events.started
    await made.orphans.look()
    yield made
    task = made.watch._task
    await made.watch.close()
    assert made.events.closed
    assert task is not None
    assert task.done()
    assert made.journal.on_return is None
    assert made.threads.open == 0


async def settled() -> None:
    """The watch has nothing more to do."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_first_look_is_at_everything(scene: Scene) -> None:
    """And the next only at what has changed, each link as it was told last."""
    assert scene.orphans.looks == [None]
    scene.events.tell(veth(7, "a"))
    scene.events.tell(veth(7, "b"))
    await scene.orphans.look()
    scene.events.tell(veth(7, "c"))
    await scene.orphans.look()
    assert scene.orphans.looks == [None, [7], [7]]


async def test_a_pause_before_each_look(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that appears is changed several times at once."""
    monkeypatch.setattr(module, "PAUSE", 3600)
    scene.events.tell(veth(7, "a"))
    await settled()
    assert scene.orphans.looks == [None]


async def test_what_does_not_matter(scene: Scene) -> None:
    """Wakes nobody."""
    scene.events.tell(veth(8, "x"))
    await settled()
    assert scene.orphans.looks == [None]


async def test_events_that_were_missed(scene: Scene) -> None:
    """Everything is looked at again, once."""
    scene.events.tell(None)
    await scene.orphans.look()
    scene.events.tell(veth(7, "a"))
    await scene.orphans.look()
    assert scene.orphans.looks == [None, None, [7]]


async def test_links_that_appear(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """Told once each; what was there at the first look is not, and what was missed is found by the next look."""
    caplog.set_level("INFO")
    scene.events.tell(veth(3, "there"))
    scene.events.tell(veth(4, "new"))
    scene.events.tell(veth(4, "new", mtu=9000))
    scene.events.gone(veth(4, "new"))
    scene.threads.ends[0].links[6] = veth(6, "missed")
    scene.events.tell(None)
    await scene.orphans.look()
    told = [record.device for record in caplog.records if "appeared" in record.message]  # type: ignore[attr-defined]
    assert told == ["new", "missed"]


async def test_a_look_that_fails(scene: Scene) -> None:
    """Is not the last one."""
    for error in (OSError("x"), CrishimError(Kind.INTERNAL, "x")):
        scene.orphans.fails = error
        scene.events.tell(veth(7, "a"))
        await scene.orphans.look()
    scene.orphans.fails = None
    scene.events.tell(veth(7, "a"))
    await scene.orphans.look()
    assert scene.orphans.looks == [None, [7], [7], [7]]


async def test_a_returned_device_has_its_name_looked_after(scene: Scene) -> None:
    """At once, and when it is renamed; until it was named once more."""
    scene.journal.on_return(KNOWN, 5)
    await scene.orphans.look()
    assert scene.orphans.names == [KNOWN.id]
    scene.events.tell(veth(5, "ens5"))
    await scene.orphans.look()
    assert scene.orphans.names == [KNOWN.id] * 2
    scene.events.tell(veth(5, "demo0"))  # its own name
    scene.events.tell(veth(6, "ens5"))  # another link
    await settled()
    assert scene.orphans.names == [KNOWN.id] * 2
    scene.journal.on_return(OTHER, 6)
    await scene.orphans.look()
    scene.orphans.was_renamed = True
    scene.events.tell(veth(5, "ens5"))
    await scene.orphans.look()
    assert scene.orphans.names[2:] == [OTHER.id, KNOWN.id]
    scene.events.tell(veth(5, "ens5"))  # whoever does it now means it
    await settled()
    scene.orphans.was_renamed = False
    scene.events.tell(veth(6, "ens6"))
    await scene.orphans.look()
    assert scene.orphans.names[4:] == [OTHER.id]
    assert scene.orphans.looks == [None, [], [], [], [], []]


async def test_one_that_was_named_meanwhile(scene: Scene) -> None:
    """Told of twice before a look: its name is given back once."""
    scene.journal.on_return(KNOWN, 5)
    await scene.orphans.look()
    scene.orphans.was_renamed = True
    scene.events.tell(veth(5, "ens5"))
    scene.events.tell(veth(5, "ens6"))
    await scene.orphans.look()
    assert scene.orphans.names == [KNOWN.id] * 2


async def test_one_whose_name_is_anothers(scene: Scene) -> None:
    """Asked about again when a link is gone, as long as it is called what it was called, until it has its name."""
    scene.orphans.called = "demo0-0123"
    scene.journal.on_return(KNOWN, 5)
    await scene.orphans.look()
    scene.events.tell(veth(8, "demo0"))
    await settled()
    scene.orphans.was_renamed, scene.orphans.called = True, ""
    scene.events.gone(veth(8, "demo0"))
    await scene.orphans.look()
    scene.events.gone(veth(9, "x"))
    await settled()
    assert scene.orphans.names == [KNOWN.id, KNOWN.id + "demo0-0123"]
    assert scene.watch._retries.misnamed == {}


async def test_one_that_is_down(scene: Scene) -> None:
    """Tried again when its parent changes, or when nobody knows what did."""
    down = attachment(state=State.DOWN, host=replace(KNOWN.host, parent=3))
    scene.attachments = [down]
    scene.events.tell(veth(8, "x"))
    scene.events.gone(veth(8, "x"))
    await settled()
    assert scene.orphans.looks == [None]
    scene.events.tell(veth(3, "parent0"))
    await scene.orphans.look()
    assert (scene.orphans.retried, scene.orphans.looks) == ([down.id], [None, []])
    scene.events.tell(None)  # too soon for another try
    await scene.orphans.look()
    assert (scene.orphans.retried, scene.orphans.looks) == ([down.id], [None, [], None])


async def test_one_that_is_down_when_events_were_missed(scene: Scene) -> None:
    """What it waits for may have been among them."""
    scene.attachments = [attachment(state=State.DOWN)]
    scene.events.tell(None)
    await scene.orphans.look()
    assert scene.orphans.retried == [scene.attachments[0].id]


async def test_only_for_a_while(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """After that a rename is the administrator's; what was watched is forgotten with the next return."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    scene.watch._note(KNOWN, 5)
    assert scene.watch._is_renamed(veth(5, "ens5"))
    now[0] += NAMED_FOR - 1
    assert scene.watch._is_renamed(veth(5, "ens5"))
    scene.watch._note(OTHER, 6)
    assert scene.watch._is_watched(KNOWN)
    now[0] += 1
    assert not scene.watch._is_renamed(veth(5, "ens5"))
    scene.watch._note(OTHER, 7)
    assert not scene.watch._is_watched(KNOWN)
    assert scene.watch._is_watched(OTHER)


async def test_a_watch_that_was_not_started() -> None:
    """Can be closed."""
    await Scene().watch.close()


async def test_one_that_goes_and_comes_again_is_told_of_twice(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        scene.events.tell(veth(9, "data9"))
        scene.events.tell(veth(9, "data9"))
        scene.events.gone(veth(9, "data9"))
        scene.events.tell(veth(9, "data9"))
    assert [vars(r).get("device") for r in caplog.records].count("data9") == 2
