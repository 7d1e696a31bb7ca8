"""Which devices are tried again after which change of another link, and how often."""

from typing import Any

import pytest
from msgspec.structs import replace

from crishim.linux.netlink.links import IFF_UP, Link
from crishim.netdev.records import Attachment, Captured, State
from crishim.netdev.return_retries import LONGEST, MOST, ReturnRetries
from tests.unit.netdev.fake_links import attachment

MAC = b"\2\0\0\0\0\1"
DOWN = attachment(state=State.DOWN, host=Captured(index=5, name="mv0", kind="macvlan", parent=3, mac=MAC))


class Journal:
    def __init__(self, *attachments: Attachment) -> None:
        self.attachments = list(attachments)

    def all(self) -> list[Attachment]:
        return self.attachments


def tries(*attachments: Attachment) -> ReturnRetries:
    journal: Any = Journal(*attachments)
    return ReturnRetries(journal)


@pytest.mark.parametrize(
    ("link", "gone", "helps"),
    [
        (Link(index=3, name="parent0"), False, True),
        (Link(index=7, name="mv1", parent=3), False, True),
        (Link(index=7, name="mv1", parent=3), True, True),
        (Link(index=8, name="x", mac=MAC), True, True),
        (Link(index=8, name="x", parent=4), True, False),
        (Link(index=5, name="mv0", parent=3, mac=MAC), False, False),
        (Link(index=5, name="mv0", parent=3, mac=MAC, flags=IFF_UP), False, True),
        (Link(index=5, name="mv0", parent=3, mac=MAC), True, True),
    ],
)
def test_what_may_help_one_that_is_down(link: Link, gone: bool, helps: bool) -> None:
    """Its parent, what is on the same parent or has its MAC; itself when somebody brought it up, or took it away."""
    retries = tries(DOWN)
    assert retries.note(link, gone=gone) is helps
    assert retries.take(0.0) == ([DOWN] if helps else [])


def test_one_without_a_parent_has_no_siblings() -> None:
    retries = tries(replace(DOWN, host=replace(DOWN.host, parent=0)))
    assert not retries.note(Link(index=9, name="eth9"))


def test_only_those_that_are_down() -> None:
    retries = tries(replace(DOWN, state=State.READY), replace(DOWN, state=State.LOST))
    retries.all()
    assert not retries.note(Link(index=3, name="parent0"))
    assert retries.wait(0.0) is None


def test_nobody_knows_what_has_changed() -> None:
    """What is down and what is misnamed are both due, and nothing else."""
    home = replace(DOWN, id="f" * 16, state=State.DONE)
    retries = tries(DOWN, replace(DOWN, id="e" * 16, state=State.READY))
    retries.misname(home, "mv0-0123")
    retries.all()
    assert sorted(a.id for a in retries.take(0.0)) == sorted([DOWN.id, home.id])


def test_the_time_between_tries_doubles() -> None:
    """What happens meanwhile is not forgotten: it is tried when the time has come."""
    retries = tries(DOWN)
    now, pauses = 0.0, []
    for _ in range(9):
        retries.note(Link(index=3, name="parent0"))
        pause = retries.wait(now)
        assert pause is not None
        assert retries.take(now + pause - 0.01) == []
        pauses.append(pause)
        now += pause
        assert retries.take(now) == [DOWN]
    assert pauses == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LONGEST, LONGEST]
    assert retries.wait(now) is None


def test_a_name_that_is_anothers() -> None:
    """Tried when another link has changed its name or gone; over when it has its name, or another that was given it."""
    home = replace(DOWN, state=State.DONE)
    retries = tries()
    retries.misname(home, "mv0-0123")
    assert not retries.note(Link(index=7, name="mv0"))
    assert not retries.note(Link(index=5, name="mv0-0123"))
    assert retries.note(Link(index=7, name="ens7"))
    assert retries.take(0.0) == [home]
    assert retries.note(Link(index=7, name="mv0"), gone=True)
    retries.misname(home, "")
    assert retries.take(9.0) == []
    for number in range(MOST + 9):
        retries.misname(replace(home, id=f"{number:x}"), "x")
    assert len(retries.misnamed) == MOST
