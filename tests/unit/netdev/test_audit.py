"""A device is read again after its return: what of it, and the sentences about what differs."""

from typing import Any

import pytest
from msgspec.structs import replace

from crishim.linux import devconf, device_files, multicast
from crishim.linux.bpf import BpfProgram
from crishim.linux.netlink import ethtool, neighbours, nexthops, queueing
from crishim.linux.netlink.ethtool import Tuning
from crishim.linux.netlink.links import IFF_UP
from crishim.linux.netlink.neighbours import Ageing, Neighbour
from crishim.linux.netlink.nexthops import Nexthop
from crishim.linux.netlink.queueing import RTM_NEWQDISC, TcObject
from crishim.linux.netlink.rtnetlink import text, u32
from crishim.netdev import audit as module
from crishim.netdev import bpf_programs
from crishim.netdev.audit import audit
from crishim.netdev.records import Captured
from crishim.netdev.restore_context import RestoreContext
from tests.unit.netdev.fake_links import FakeEnd, veth
from tests.unit.netdev.wire_calls import Calls

GUARD = BpfProgram(hook="tcx ingress", id=5, name="guard")
WAS = Captured(index=5, name="demo0", kind="veth", mtu=1500, flags=IFF_UP, complete=True)
FULL: dict[str, Any] = {
    "tunings": (Tuning(subject="rings", attributes=u32(1, 1)),),
    "files": (("threaded", "0"),),
    "sysctls": (("ipv6/conf/{}/stable_secret", "::1"),),
    "programs": (GUARD,),
    "entries": (Neighbour(family=2, state=0x80, flags=0, type=0, attributes=b""),),
    "multicast": (b"\1\0\x5e\0\0\1",),
    "groups": frozenset({"239.1.1.1"}),
    "queueing": (
        TcObject(message=RTM_NEWQDISC, handle=1 << 16, parent=0xFFFFFFFF, info=0, attributes=text(1, "pfifo")),
    ),
    "nexthops": (Nexthop(header=bytes(8), attributes=u32(1, 77)),),
}


@pytest.fixture
def read(calls: Calls, fake_links: None) -> Calls:
    """Nothing of all this is there any more."""
    calls.note(ethtool, "read", answer=lambda *_: ())
    calls.note(device_files, "read_again", answer=lambda *_: {"threaded": "1"})
    calls.note(devconf, "read_files", answer=lambda *_: ())
    calls.note(bpf_programs, "read", answer=lambda *_: ())
    calls.note(neighbours, "dump", "dump_forwarding", answer=lambda *_: ())
    calls.note(multicast, "filters", answer=lambda *_: {5: ()})
    calls.note(multicast, "groups", answer=lambda *_: {"demo0": frozenset()})
    calls.note(queueing, "read", answer=lambda *_: ())
    calls.note(nexthops, "dump", answer=lambda *_: ())
    return calls


def place(was: Captured = WAS, **link: Any) -> RestoreContext:
    host: Any = FakeEnd(veth(5, "demo0", **{"mtu": 1500, "flags": IFF_UP | 0x10000} | link))
    host.genetlink = host
    return RestoreContext(host, 5, "demo0", was)


def names(calls: Calls) -> list[str]:
    return [name for name, *_ in calls.made]


def test_what_was_nothing_is_not_read(read: Calls) -> None:
    assert audit(place()) == []
    assert read.made == []


def test_everything_is_gone(read: Calls) -> None:
    """Each has its sentence."""
    at = place(replace(WAS, **FULL))
    at.touched |= {"tunings", "files"}
    said = audit(at)
    assert [s for s in said if "of demo0 was not restored: the kernel took it, and it differs" in s] == [
        f"{what} of demo0 was not restored: the kernel took it, and it differs"
        for what in (
            "ethtool rings",
            "threaded",
            "net.ipv6.conf.stable_secret",
            "neighbour ?",
            "multicast filter 01:00:5e:00:00:01",
            "nexthop 77",
            "queueing discipline pfifo 1:",
        )
    ]
    assert "tcx ingress program 5 (guard) of demo0 was not restored: it is gone" in said
    left = "multicast group 239.1.1.1 on demo0 was left with the move: the program that had joined it has to join again"
    assert left in said
    assert len(said) == 9


def test_what_was_not_written_is_not_read_again(read: Calls) -> None:
    """ethtool's and files cost time, and nobody changed them."""
    audit(place(replace(WAS, tunings=FULL["tunings"], files=FULL["files"])))
    assert read.made == []
    at = place()
    at.touched.add("programs")
    audit(at)
    assert names(read) == ["read"]


@pytest.mark.parametrize(("kind", "entries"), [("veth", FULL["entries"]), ("vxlan", ())])
def test_both_sorts_of_neighbours_are_read(read: Calls, kind: str, entries: tuple[Neighbour, ...]) -> None:
    there = Neighbour(family=7, state=0x80, flags=0, type=0, attributes=b"")
    read.note(neighbours, "dump", answer=lambda *_: entries)
    read.note(neighbours, "dump_forwarding", answer=lambda *_: (there,))
    assert audit(place(replace(WAS, kind=kind, entries=(*entries, there)))) == []
    assert names(read) == ["dump", "dump_forwarding"]


def test_what_being_down_explains(read: Calls) -> None:
    """Nexthops and groups of a device that cannot be brought up."""
    was = replace(WAS, nexthops=FULL["nexthops"], groups=FULL["groups"])
    assert len(audit(place(was))) == 2
    assert audit(place(was), down=True) == []


def test_the_kernels_reason_is_told(read: Calls) -> None:
    at = place(mtu=1400)
    at.refusals["mtu"] = "Invalid argument"
    assert audit(at) == ["mtu of demo0 was not restored: Invalid argument"]


def test_flags(read: Calls) -> None:
    """Those a user sets; of a record that knows no more than its fields, none."""
    assert audit(place(flags=IFF_UP | 0x100)) == ["flags of demo0 was not restored: the kernel took it, and it differs"]
    assert audit(place(replace(WAS, complete=False), flags=IFF_UP | 0x100)) == []


def test_programs(read: Calls) -> None:
    """One that a bpf_link held is its owner's to attach."""
    held = replace(GUARD, by_link=True)
    at = place(replace(WAS, programs=(held, replace(GUARD, id=6))))
    assert audit(at) == [
        "tcx ingress program 5 (guard) of demo0 was not restored: "
        "a bpf_link held it there, whose owner has to attach it again",
        "tcx ingress program 6 (guard) of demo0 was not restored: it is gone",
    ]
    at.refusals[str(held)] = "Device or resource busy"
    assert audit(at)[0] == "tcx ingress program 5 (guard) of demo0 was not restored: Device or resource busy"


def test_neighbour_settings(read: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    at = place(replace(WAS, ageing=(Ageing(table="arp_cache", attributes=u32(1, 5)),)))
    monkeypatch.setattr(module, "_read", lambda _: replace(at.was, ageing=()))
    assert audit(at) == ["neighbour settings of demo0 was not restored: they differ"]
    at.refusals["neighbour settings"] = "no"
    assert audit(at) == ["neighbour settings of demo0 was not restored: no"]


def test_a_link_that_is_gone_again(read: Calls) -> None:
    """Nothing is said of this return."""
    at = place(replace(WAS, **FULL))
    at.host.links.clear()  # type: ignore[attr-defined]
    assert audit(at) == []
