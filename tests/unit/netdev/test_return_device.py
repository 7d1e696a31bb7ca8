"""How the return of a device ends, and what is journalled of it."""

import errno
from pathlib import Path
from typing import Any

import pytest

from crishim.errors import CrishimError, Kind
from crishim.netdev import return_device as module
from crishim.netdev.journal import Journal
from crishim.netdev.records import Attachment, Captured, State
from crishim.netdev.restore import Problems, ReturnOutcome
from crishim.netdev.return_device import recover_device, return_device, return_devices
from tests.unit.netdev.fake_links import FakeEnd, attachment, veth

ENDS: Any = None
KNOWN = attachment(warnings=("w",), reason="before")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(tmp_path / "journal")
    made.load()
    return made


def outcome(monkeypatch: pytest.MonkeyPatch, ended: ReturnOutcome | Exception) -> None:
    def restore(*_: object) -> ReturnOutcome:
        if isinstance(ended, Exception):
            raise ended
        return ended

    monkeypatch.setattr(module, "move_to_host", lambda *_: Problems())
    monkeypatch.setattr(module, "restore", restore)


@pytest.mark.parametrize(
    ("ended", "state", "reason", "warnings"),
    [
        (ReturnOutcome("demo0", ("a",), ifindex=5), State.DONE, "", ("w", "a")),
        (ReturnOutcome("demo0", ("w",), down="Busy", ifindex=5), State.DOWN, "Busy", ("w",)),
        (ReturnOutcome("", ("a",), "nowhere"), State.LOST, "nowhere", ("w", "a")),
    ],
)
def test_how_a_return_ends(
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
    ended: ReturnOutcome,
    state: State,
    reason: str,
    warnings: tuple[str, ...],
) -> None:
    """A warning is kept once; who watches is told of what is back and well."""
    told: list[tuple[str, int]] = []
    journal.on_return = lambda known, index: told.append((known.device, index))
    journal.open([KNOWN])
    outcome(monkeypatch, ended)
    after, text = return_device(KNOWN, journal, ENDS, ENDS)
    assert (after.state, after.reason, after.warnings, text) == (state, reason, warnings, "")
    assert told == ([("demo0", 5)] if state is State.DONE else [])
    if state is State.LOST:
        assert return_device(after, journal, ENDS, None) == (after, "")
    if state is State.DOWN:
        outcome(monkeypatch, ReturnOutcome("", (), "gone"))
        assert return_device(after, journal, ENDS, None)[0].state is State.LOST
    journal.on_return = None
    outcome(monkeypatch, ReturnOutcome("demo0"))
    if state is not State.DONE:
        assert return_device(after, journal, ENDS, None)[0].state is State.DONE


@pytest.mark.parametrize("error", [OSError(errno.EPERM, "no name"), CrishimError(Kind.EXHAUSTED, "no name")])
def test_a_kernel_that_refuses_the_return(journal: Journal, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Told twice, so that the stop is tried again; LOST at the third time, so that the pod can end."""
    known = KNOWN
    journal.open([known])
    outcome(monkeypatch, error)
    for times in (1, 2):
        known, text = return_device(known, journal, ENDS, ENDS)
        assert text == "device demo0 of pod default/a could not be returned: no name"
        assert (known.state, known.refusals, known.reason) == (State.RETURNING, times, "no name")
    known, text = return_device(known, journal, ENDS, ENDS)
    assert (known.state, text) == (State.LOST, "")
    assert known.reason == "the kernel refuses to move it back: no name (3 times)"
    known, text = return_device(known, journal, ENDS, ENDS)
    assert (known.state, known.refusals, text) == (State.LOST, 4, "")


def test_all_are_moved_before_one_is_restored(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """All RETURNING on disk first; one that cannot be moved keeps no other from its return."""
    devices = [attachment(id=f"{n:016x}", host=Captured(index=n, name=f"demo{n}", kind="veth")) for n in (5, 6, 7)]
    journal.open(devices)
    taken: list[str] = []

    def move_to_host(known: Attachment, *_: object) -> Problems:
        assert {a.state for a in journal.all()} == {State.RETURNING}
        taken.append(f"move {known.device}")
        if known.device == "demo6":
            raise OSError(errno.EPERM, "not that one")
        return Problems([f"{known.device} has another name"])

    def restore(known: Attachment, host: Any, pod: Any, problems: Problems) -> ReturnOutcome:
        taken.append(f"restore {known.device}: {' '.join(problems)}")
        return ReturnOutcome(known.device, tuple(problems), ifindex=5)

    monkeypatch.setattr(module, "move_to_host", move_to_host)
    monkeypatch.setattr(module, "restore", restore)
    ended = return_devices([(known, ENDS) for known in devices], journal, ENDS)
    assert taken[:3] == ["move demo5", "move demo6", "move demo7"]
    assert taken[3:] == [f"restore {name}: {name} has another name" for name in ("demo5", "demo7")]
    assert [a.state for a, _ in ended] == [State.DONE, State.RETURNING, State.DONE]
    assert [bool(text) for _, text in ended] == [False, True, False]


@pytest.mark.parametrize(
    ("state", "alive", "pod", "stays"),
    [
        (State.READY, True, True, True),
        (State.READY, False, True, False),
        (State.READY, True, False, False),
        (State.MOVED, True, True, False),
        (State.LOST, True, True, False),
    ],
)
def test_after_a_start(
    fake_links: None,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
    state: State,
    alive: bool,
    pod: bool,
    stays: bool,
) -> None:
    """Only what is READY in a pod that lives stays; and only if it is there."""
    known = attachment(state=state)
    journal.open([known])
    outcome(monkeypatch, ReturnOutcome("demo0"))
    end: Any = FakeEnd(veth(5, "net1"), inode=2)
    assert (recover_device(known, journal, ENDS, end if pod else None, is_alive=alive) == known) is stays
    assert bool(journal.all()) is stays
    if stays:
        del end.links[5]
        assert recover_device(known, journal, ENDS, end, is_alive=alive).state is State.DONE
