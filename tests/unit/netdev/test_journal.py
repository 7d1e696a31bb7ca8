"""The journal on disk, the leases, the states."""

import logging
from pathlib import Path

import msgspec
import pytest

from crishim.errors import CrishimError, Kind
from crishim.linux.devconf import Devconf
from crishim.linux.netlink.addresses import Address
from crishim.linux.netlink.neighbours import Ageing
from crishim.linux.netlink.routes import Route
from crishim.netdev.journal import Journal
from crishim.netdev.records import TRANSITIONS, Attachment, Captured, Mover, PodRef, State, check_transition


def make(id: str, index: int = 5, pod: str = "pod-a", state: State = State.INTENT) -> Attachment:
    host = Captured(
        index=index,
        name="demo0",
        mac=b"\2\0\0\0\0\1",
        ageing=(Ageing(table="arp_cache", attributes=b"\xfe"),),
        settings=Devconf((1, 2), (-1, 3), 0),
        addresses=(Address(family=2, prefix=24, scope=0, flags=128, attributes=b"\x08\0\2\0\xc0\0\2\xff"),),
        routes=(Route(header=b"x" * 12, attributes=b"\x08\0\4\0\xff\0\0\0"),),
    )
    return Attachment(
        id=id,
        pod=PodRef(id=pod, netns="/run/x", title=f"default/{pod}"),
        netns_inode=7,
        state=state,
        mover=Mover.BUILTIN,
        sources=("annotation",),
        wanted="net1",
        name="net1",
        host=host,
    )


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(tmp_path / "journal")
    made.load()
    return made


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("after", State)
def test_every_transition(before: State, after: State) -> None:
    """A state goes where the table says or stays; anything else is INTERNAL."""
    if before == after or after in TRANSITIONS[before]:
        check_transition(before, after)
    else:
        with pytest.raises(CrishimError) as caught:
            check_transition(before, after)
        assert caught.value.kind is Kind.INTERNAL


def test_records_survive_a_restart_byte_for_byte(journal: Journal, tmp_path: Path) -> None:
    """What a new journal reads equals what the old one wrote, opaque bytes included."""
    journal.open([make("a"), make("b", 6)])
    moved = journal.advance(make("a"), State.MOVED, index=44)
    again = Journal(tmp_path / "journal")
    again.load()
    assert {a.id: a for a in again.all()} == {"a": moved, "b": journal.find("b")}


def test_a_claim_is_all_or_nothing(journal: Journal) -> None:
    """A second pod gets neither device while one of them is leased, claimed or on its way back."""
    other = make("b", 6, "pod-b").pod
    journal.open([make("a", 5)])

    def refused() -> CrishimError:
        with pytest.raises(CrishimError, match="default/pod-a") as caught, journal.claimed(other, [(6, "x"), (5, "y")]):
            pass
        assert (caught.value.kind, caught.value.facts["holder"]) == (Kind.ABORTED, "pod-a")
        return caught.value

    assert "held" in str(refused())
    journal.advance(make("a"), State.RETURNING)
    refused()
    journal.advance(make("a"), State.DONE)
    with journal.claimed(make("a").pod, [(5, "y")]):
        assert "being given" in str(refused())
    with journal.claimed(other, [(6, "x"), (5, "y")]):
        pass


def test_an_ifindex_is_free_while_its_device_is_in_a_pod(journal: Journal) -> None:
    """A link that got the ifindex of a device that is away is another device."""
    journal.open([make("a", 5)])
    journal.advance(make("a"), State.MOVED, index=9)
    with journal.claimed(make("b").pod, [(5, "new0")]):
        pass


def test_a_lease_is_written_whole_or_not_at_all(journal: Journal, tmp_path: Path) -> None:
    """When the second record cannot be written, the first one's file is gone again."""
    bad = msgspec.structs.replace(make("b", 6), wanted="\ud800")
    with pytest.raises(UnicodeEncodeError):
        journal.open([make("a"), bad])
    assert list((tmp_path / "journal").iterdir()) == []
    assert journal.all() == []


def test_done_and_lost_hold_nothing(journal: Journal) -> None:
    """After DONE the record is gone, after LOST it is kept; both free the device."""
    journal.open([make("a")])
    journal.advance(make("a"), State.RETURNING)
    assert journal.advance(make("a"), State.DONE).state is State.DONE
    journal.open([make("b")])
    journal.advance(make("b"), State.LOST, reason="gone")
    journal.open([make("c")])
    assert [(a.id, a.state) for a in journal.all()] == [("b", State.LOST), ("c", State.INTENT)]
    assert [a.id for a in journal.held()] == ["c"]


def test_an_unwritable_journal_forbids_the_effect(journal: Journal, tmp_path: Path) -> None:
    """No directory: open() fails with the path, nothing is leased; advance() keeps the old state."""
    journal.open([make("a")])
    (tmp_path / "journal").rename(tmp_path / "elsewhere")
    with pytest.raises(CrishimError, match="demo0"):
        journal.open([make("b", 6)])
    with pytest.raises(CrishimError, match="demo0"):
        journal.advance(make("a"), State.MOVED)
    assert [(a.id, a.state) for a in journal.all()] == [("a", State.INTENT)]


def test_each_transition_is_one_log_line(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    """The line names device, pod, interface and where it came from; a change without transition is silent."""
    with caplog.at_level(logging.INFO, "crishim.netdev"):
        journal.open([make("a")])
        journal.advance(make("a"), State.MOVED, index=3)
        journal.advance(make("a"), State.MOVED, index=4)
        journal.advance(make("a"), State.LOST, reason="gone")
    lines = [(r.getMessage(), r.before, r.device, r.interface, r.pod, r.levelname) for r in caplog.records]  # type: ignore[attr-defined]
    assert lines == [
        ("network device intent", "", "demo0", "net1", "pod-a", "INFO"),
        ("network device moved", "intent", "demo0", "net1", "pod-a", "INFO"),
        ("network device lost", "moved", "demo0", "net1", "pod-a", "ERROR"),
    ]


def test_files_that_are_no_records(journal: Journal, tmp_path: Path) -> None:
    """Half-written files are removed, all others left alone, those of which nothing is known too."""
    directory = tmp_path / "journal"
    (directory / "a.tmp").write_text("{")
    (directory / "b.json").write_bytes(msgspec.json.encode({"id": 1}))
    (directory / "README").write_text("x")
    journal.load()
    assert sorted(p.name for p in directory.iterdir()) == ["README", "b.json"]
    assert journal.all() == []


@pytest.mark.parametrize(
    ("damage", "state"),
    [
        ({}, State.READY),  # a copy says INTENT, and nobody knows how far it got
        ({"schema": 2, "state": "returning", "mover": "robot"}, State.RETURNING),
        ({"schema": 2, "state": "moved"}, State.READY),  # a container may run with it: it is not undone
        ({"schema": 2, "state": "hovering", "host": {"index": 5, "name": "demo0", "altnames": [7, "x"]}}, State.READY),
        ({"schema": 2, "netns_inode": "x", "pod": None}, State.READY),
        ({"host": {"index": 5, "name": "demo0", "addresses": [{"attributes": ""}]}}, State.READY),
    ],
)
def test_an_unreadable_record(tmp_path: Path, damage: dict[str, object], state: State) -> None:
    """Its attachment is known from its fields and the copy; the file is left until the device is back."""
    one = Journal(tmp_path / "journal", tmp_path / "copies")
    one.load()
    one.open([make("a")])
    path = tmp_path / "journal/a.json"
    data = (msgspec.json.decode(path.read_bytes()) | damage) if damage else {}
    path.write_bytes(msgspec.json.encode(data) if damage else b"")
    before = path.read_bytes()
    again = Journal(tmp_path / "journal", tmp_path / "copies")
    again.load()
    (found,) = again.all()
    assert (found.state, found.pod, found.netns_inode, found.name) == (state, make("a").pod, 7, "net1")
    assert (found.device, found.host.index) == ("demo0", 5)
    moving = again.advance(found, State.RETURNING, reason="memory only")
    assert again.all() == [moving]
    assert path.read_bytes() == before
    again.advance(moving, State.DONE)
    assert again.all() == []
    assert [*(tmp_path / "journal").iterdir(), *(tmp_path / "copies").iterdir()] == []


def test_who_watches_is_told_of_each_state(journal: Journal) -> None:
    """Of the pod, also when an attachment is dropped; not of a change in the same state."""
    told: list[str] = []
    journal.on_change = told.append
    known = make("a" * 16, pod="pod-b")
    journal.open([known])
    told.clear()
    known = journal.advance(known, State.MOVED)
    journal.advance(known, State.MOVED, reason="x")
    assert told == ["pod-b"]
    journal.drop(known)
    assert told == ["pod-b", "pod-b"]


def test_who_listens_gets_each_state(journal: Journal) -> None:
    """From the first one on, until it listens no more."""
    heard: list[State] = []
    with journal.listening(lambda known: heard.append(known.state)):
        known = make("a" * 16)
        journal.open([known])
        known = journal.advance(known, State.MOVED)
        journal.advance(known, State.MOVED, reason="x")
        assert heard == [State.INTENT, State.MOVED]
    journal.advance(known, State.RETURNING)
    assert heard == [State.INTENT, State.MOVED]
