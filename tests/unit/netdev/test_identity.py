"""When two descriptions are of one device, and where it is looked for."""

import errno
from typing import Any

import pytest
from msgspec.structs import replace

from crishim.linux import sysfs
from crishim.linux.netlink.links import Link
from crishim.netdev.identity import (
    find_impostor,
    find_in_pod,
    find_on_host,
    identify,
    is_device,
    looks_like,
    same,
)
from crishim.netdev.records import Captured, Identity
from tests.unit.netdev.fake_links import FakeEnd, attachment, veth

VETH = Identity(inode=7, kind="veth")
NIC = Identity(inode=8, bus="pci", bus_device="0000:03:00.0", port="p0", permanent_mac=b"\2\0\0\0\0\1")


def test_the_same_kernel_device() -> None:
    """The inode alone says so, for any kind."""
    assert same(VETH, VETH)
    assert same(NIC, replace(NIC, port="p1"))


@pytest.mark.parametrize("other", [replace(VETH, inode=9), replace(VETH, kind="ifb"), Identity(kind="veth")])
def test_another_virtual_device(other: Identity) -> None:
    """Nothing makes up for another inode, or another kind; an unknown inode is no proof."""
    assert not same(VETH, other)
    assert not same(other, VETH)
    assert not same(Identity(kind="veth"), other)


def test_hardware_that_was_plugged_in_again() -> None:
    """Bus, place, port and permanent MAC together; any of them different or unknown is another device."""
    again = replace(NIC, inode=9)
    assert same(NIC, again)
    for field, value in (("bus", "usb"), ("bus_device", "0000:03:00.1"), ("port", "p1"), ("permanent_mac", b"")):
        assert not same(NIC, replace(again, **{field: value}))
    nameless = replace(NIC, permanent_mac=b"")
    assert not same(nameless, replace(nameless, inode=9))


def test_a_name_may_change_while_it_is_looked_at(fake_links: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read counts if name and ifindex are of one link; after five names it is given up as gone."""
    end: Any = FakeEnd(veth(5, "demo0"))
    assert identify(veth(5, "older"), end) == Identity(inode=1005, kind="veth")
    looks = []

    def always_another(sysfs: object, name: str, index: int) -> int:
        looks.append(name)
        end.replace(5, name=f"name{len(looks)}")
        return 0

    monkeypatch.setattr(sysfs, "device_inode", always_another)
    with pytest.raises(OSError, match="No such device") as caught:
        identify(veth(5, "demo0"), end)
    assert caught.value.errno == errno.ENODEV
    assert looks == ["demo0", "name1", "name2", "name3", "name4"]


def test_a_link_that_goes_while_it_is_looked_at(fake_links: None) -> None:
    """It is no device; any other failure is an error."""
    end: Any = FakeEnd()
    with pytest.raises(OSError, match="No such device"):
        identify(veth(5, "demo0"), end)
    assert is_device(attachment(), veth(5, "demo0"), end) is False


def test_a_failure_to_look_is_no_answer(fake_links: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(sysfs, "device_inode", broken)
    end: Any = FakeEnd(veth(5, "demo0"))
    with pytest.raises(OSError, match="Too many"):
        is_device(attachment(), veth(5, "demo0"), end)
    assert is_device(attachment(), veth(5, "demo0", kind="ifb"), end) is False  # which needs no look


@pytest.mark.parametrize(
    ("link", "is_it"),
    [
        (veth(5, "demo0", parent=3), True),
        (veth(9, "net1", parent=3), True),  # where it was in the pod
        (veth(7, "net1", parent=3, altnames=("crishim-0123456789abcdef",)), True),
        (veth(7, "demo0", parent=3), False),
        (veth(5, "demo0", parent=4), False),
        (veth(5, "demo0", parent=3, kind="ifb"), False),
    ],
)
def test_a_record_without_identity(link: Link, is_it: bool) -> None:
    """An older daemon's: an ifindex or our mark, and kind and parent."""
    old = attachment(identity=Identity(), index=9, host=Captured(index=5, name="demo0", kind="veth", parent=3))
    end: Any = None
    assert is_device(old, link, end) is is_it


def test_where_a_device_is_looked_for(fake_links: None) -> None:
    """By what it should be called or numbered, and then everywhere; never what only looks like it."""
    known = attachment()
    end: Any = FakeEnd(veth(6, "demo0", altnames=(known.altname,)), veth(7, "other"))
    assert find_in_pod(known, end) is None
    assert find_on_host(known, end) is None
    assert find_impostor(known, end) == end.links[6]
    end.devices[7] = 1005
    assert find_in_pod(known, end) == find_on_host(known, end) == end.links[7]
    end.devices = {6: 1005, 7: 1007}
    assert find_in_pod(known, end) == find_on_host(known, end) == end.links[6]
    assert find_impostor(known, end) is None
    assert find_impostor(attachment(id="f" * 16), end) is None


def test_an_unknown_ifindex_is_not_asked_for(fake_links: None) -> None:
    """0 is "not known" in the record, and no link's."""
    end: Any = FakeEnd(veth(5, "net1"))
    asked = []
    find = end.find

    def note(key: int | str) -> Any:
        asked.append(key)
        return find(key)

    end.find = note
    assert find_in_pod(attachment(index=0), end) == end.links[5]
    assert asked == [attachment().altname]


def test_what_is_worth_a_look() -> None:
    """Our mark, or the hardware."""
    card = attachment(identity=NIC, host=Captured(index=5, name="demo0"))
    seen = Link(index=7, name="x", bus="pci", bus_device="0000:03:00.0", port="p0", permanent_mac=b"\2\0\0\0\0\1")
    assert looks_like(card, seen)
    assert not looks_like(card, replace(seen, port="p1"))
    assert looks_like(card, Link(index=7, name="x", altnames=(card.altname,)))
    assert not looks_like(attachment(), veth(5, "demo0"))
