"""The journal in memory: order, whose, what is dropped, and what a full disk is called."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from crishim.errors import CrishimError, Kind
from crishim.linux import record_files
from crishim.netdev.journal import Journal
from crishim.netdev.records import PodRef, State
from tests.unit.netdev.fake_links import attachment


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(tmp_path / "journal", tmp_path / "copies")
    made.load()
    return made


def test_the_oldest_come_first(journal: Journal) -> None:
    """And of one moment the lower id; of one pod, or of all."""
    other = PodRef(id="pod-b", netns="/run/b")
    made = [attachment(id=i, since=s) for i, s in (("c", 1), ("b", 2), ("a", 2))]
    journal.open([made[2], made[1], made[0], attachment(id="d", since=3, pod=other)])
    assert [a.id for a in journal.all()] == ["c", "a", "b", "d"]
    assert [a.id for a in journal.all("pod-a")] == ["c", "a", "b"]
    assert [a.id for a in journal.all("pod-b")] == ["d"]
    assert journal.all("pod-c") == []


def test_a_state_it_cannot_have(journal: Journal) -> None:
    """Is an error, and nothing is written."""
    journal.open([attachment(state=State.READY)])
    with pytest.raises(CrishimError, match="cannot go from ready to moved") as caught:
        journal.advance(attachment(), State.MOVED)
    assert caught.value.kind is Kind.INTERNAL
    assert journal.all()[0].state is State.READY


def test_a_change_that_is_none(journal: Journal, tmp_path: Path) -> None:
    """Writes nothing; a field of the same state does."""
    known = attachment(changed=7)
    journal.open([known])
    path = tmp_path / f"journal/{known.id}.json"
    path.unlink()
    assert journal.advance(known, State.READY) == known
    assert not path.exists()
    after = journal.advance(known, State.READY, index=9)
    assert (after.index, after.changed > 7) == (9, True)
    assert path.exists()


def test_what_was_dropped_meanwhile(journal: Journal, tmp_path: Path) -> None:
    """Its change comes to nothing, and so does a second drop."""
    known = attachment()
    journal.open([known])
    journal.drop(known)
    journal.drop(known)
    assert journal.advance(known, State.RETURNING, index=9) == known
    assert journal.all() == []
    assert [*(tmp_path / "journal").iterdir(), *(tmp_path / "copies").iterdir()] == []


def test_an_adopted_record_may_be_written_when_it_is_over(journal: Journal, tmp_path: Path) -> None:
    """Its file stays as it is until then; a later attachment of that id is one like any other."""
    known = attachment()
    journal.open([known])
    path = tmp_path / f"journal/{known.id}.json"
    path.write_text("")
    again = Journal(tmp_path / "journal", tmp_path / "copies")
    again.load()
    again.drop(again.all()[0])
    again.open([known])
    assert path.stat().st_size > 0


@pytest.mark.parametrize(
    ("error", "kind"), [(errno.ENOSPC, Kind.EXHAUSTED), (errno.EDQUOT, Kind.EXHAUSTED), (errno.EIO, Kind.INTERNAL)]
)
def test_a_disk_that_is_full(journal: Journal, monkeypatch: pytest.MonkeyPatch, error: int, kind: Kind) -> None:
    def write(*_: Any) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(record_files, "write", write)
    with pytest.raises(CrishimError, match="cannot write the journal of network device demo0") as caught:
        journal.open([attachment()])
    assert caught.value.kind is kind


def test_how_it_is_told() -> None:
    """For people: why it is down, and a pod without a title by the head of its id."""
    assert attachment(state=State.DOWN, reason="busy").status == "returned, down: busy"
    assert attachment(state=State.LOST, reason="gone").status == "lost"
    assert str(PodRef(id="0123456789abcdef", netns="")) == "0123456789abc"
    assert str(replace(attachment().pod, title="a/b")) == "a/b"
