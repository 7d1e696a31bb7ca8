"""How a device is in its pod, in words, and where it is looked for."""

from typing import Any

import pytest

from crishim.linux.netlink.link_monitor import LinkChange
from crishim.linux.netlink.links import IFF_LOWER_UP, IFF_UP
from crishim.netdev.presence import ATTACHED, Presence, look
from tests.unit.netdev.fake_links import FakeEnd, attachment, veth

WELL = IFF_UP | IFF_LOWER_UP
NET1 = attachment()  # net1, ifindex 5, inode 1005


@pytest.mark.parametrize(
    ("now", "conditions", "text"),
    [
        (ATTACHED, (), ""),
        (Presence(is_up=False, has_carrier=False), ("down",), "down"),
        (Presence(has_carrier=False), ("no carrier",), "no carrier"),
        (Presence(renamed="eth9"), ("renamed",), "renamed eth9"),
        (Presence(is_up=False, renamed="eth9"), ("down", "renamed"), "down, renamed eth9"),
        (Presence(is_there=False), ("gone",), "gone from its pod"),
        (Presence(is_there=False, why="deleted", is_up=False), ("gone",), "gone from its pod: deleted"),
    ],
)
def test_words(now: Presence, conditions: tuple[str, ...], text: str) -> None:
    assert (now.conditions, str(now)) == (conditions, text)


def seen(*links: Any, changes: tuple[LinkChange, ...] = (), before: Presence = ATTACHED) -> Presence:
    end: Any = FakeEnd(*links)
    return look(NET1, end, changes, before)


def test_as_attached(fake_links: None) -> None:
    assert seen(veth(5, "net1", flags=WELL)) == ATTACHED


def test_what_a_pod_may_do(fake_links: None) -> None:
    """Down, without carrier, under a name of any bytes."""
    assert seen(veth(5, "net1", flags=IFF_LOWER_UP)) == Presence(is_up=False)
    assert seen(veth(5, "net1", flags=IFF_UP)) == Presence(has_carrier=False)
    assert seen(veth(5, "x\udcff", flags=WELL)) == Presence(renamed="x\ufffd")


def test_another_link_in_its_place(fake_links: None) -> None:
    """Its ifindex, name and altname on a link that is not the device: it is gone."""
    end: Any = FakeEnd(veth(5, "net1", flags=WELL, altnames=(NET1.altname,)))
    end.devices[5] = 4711
    assert look(NET1, end, (), ATTACHED) == Presence(is_there=False)


@pytest.mark.parametrize(("moved", "why"), [(True, "moved to another namespace"), (False, "deleted")])
def test_why_it_is_gone(fake_links: None, moved: bool, why: str) -> None:
    """As the kernel's last word on its ifindex says; that of another link says nothing, and it is not forgotten."""
    gone = LinkChange(5, is_gone=True, was_moved=moved)
    there = Presence(is_there=False, why=why)
    assert seen(changes=(gone,)) == there
    assert seen(changes=(LinkChange(6, is_gone=True), LinkChange(5))) == Presence(is_there=False)
    assert seen(changes=(LinkChange(6, is_gone=True),), before=there) == there


def test_one_that_came_back_elsewhere(fake_links: None) -> None:
    """Another ifindex, our altname taken off: found where something changed, and nowhere else."""
    end: Any = FakeEnd(veth(8, "net1", flags=WELL))
    end.devices[8] = 1005
    gone = Presence(is_there=False, why="moved to another namespace")
    assert look(NET1, end, (LinkChange(8),), gone) == ATTACHED
    assert look(NET1, end, (LinkChange(8, is_gone=True),), gone) == gone
