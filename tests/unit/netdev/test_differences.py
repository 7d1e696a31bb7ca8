"""What differs between two captures, and only that, each under the name its refusal is kept by."""

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.linux.bpf import BpfProgram
from crishim.linux.devconf import Devconf
from crishim.linux.netlink import link_attributes, links, queueing
from crishim.linux.netlink.ethtool import Tuning
from crishim.linux.netlink.links import IFF_UP
from crishim.linux.netlink.neighbours import Ageing, Neighbour
from crishim.linux.netlink.nexthops import Nexthop
from crishim.linux.netlink.queueing import RTM_NEWQDISC, TcObject
from crishim.linux.netlink.rtnetlink import attribute, nested, text, u32
from crishim.netdev.differences import differences
from crishim.netdev.records import Captured


def link(kind: str = "macvlan", mode: int = 1, gso: int = 65536, state: int = 6, **more: bytes) -> bytes:
    """Link.attributes as the kernel writes them."""
    info = nested(links.IFLA_LINKINFO, text(1, kind), nested(2, u32(1, mode)))
    body = u32(41, gso) + attribute(link_attributes.IFLA_OPERSTATE, bytes([state])) + info
    return body + b"".join(attribute(int(k[1:]), v) for k, v in more.items())


WAS = Captured(
    index=3,
    name="demo0",
    mtu=1500,
    flags=IFF_UP,
    complete=True,
    attributes=link_attributes.keep(link()),
    settings=Devconf((1, 0, 0), (1, 2), 0, bytes(16)),
    tunings=(Tuning(subject="rings", attributes=u32(6, 512)),),
    files=(("threaded", "0"), ("queues/rx-0/rps_cpus", "1")),
    sysctls=(("ipv6/conf/{}/stable_secret", "::1"),),
    programs=(BpfProgram(hook="tcx ingress", id=5, name="guard"),),
    multicast=(b"\1\0\x5e\0\0\1",),
    groups=frozenset({"239.1.1.1"}),
    queueing=(TcObject(message=RTM_NEWQDISC, handle=1 << 16, parent=0xFFFFFFFF, info=0, attributes=text(1, "pfifo")),),
    nexthops=(Nexthop(header=bytes(8), attributes=u32(1, 77)),),
)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mtu": 1400}, "mtu"),
        ({"queue_length": 1}, "queue length"),
        ({"flags": IFF_UP | 0x100}, "flags"),
        ({"attributes": link(gso=1)}, "gso_max_size"),
        ({"attributes": link(mode=4)}, "attribute 1 of its kind macvlan"),
        ({"attributes": link(_99=b"new")}, "link attribute 99"),
        ({"attributes": link(state=5)}, "operational state"),
        ({"settings": Devconf((1, 0, 9), (1, 2), 0, bytes(16))}, "net.ipv4.conf.proxy_arp"),
        ({"settings": Devconf((1, 0, 0), (1, 9), 0, bytes(16))}, "net.ipv6.conf.hop_limit"),
        ({"settings": Devconf((1, 0, 0), (1, 2), 1, bytes(16))}, "addrgenmode"),
        ({"settings": Devconf((1, 0, 0), (1, 2), 0, b"1" * 16)}, "IPv6 token"),
        ({"tunings": ()}, "ethtool rings"),
        ({"files": (("threaded", "1"),)}, "threaded"),
        ({"sysctls": ()}, "net.ipv6.conf.stable_secret"),
        ({"programs": ()}, "tcx ingress program 5 (guard)"),
        ({"multicast": ()}, "multicast filter 01:00:5e:00:00:01"),
        ({"groups": frozenset()}, "multicast group 239.1.1.1"),
        ({"queueing": ()}, "queueing discipline pfifo 1:"),
        ({"nexthops": ()}, "nexthop 77"),
    ],
)
def test_each_difference_has_its_name(change: dict[str, object], said: str) -> None:
    assert differences(WAS, msgspec.structs.replace(WAS, **change)) == [said]


def test_nothing_differs_from_itself() -> None:
    assert differences(WAS, WAS) == []
    assert differences(WAS, msgspec.structs.replace(WAS, flags=0)) == []  # down: said elsewhere, with its reason


def test_neighbour_ageing_is_compared_by_what_it_says() -> None:
    """In whatever order the kernel writes it; a table that is gone, or new, is a difference only if it was there."""
    arp, swapped = (Ageing(table="arp_cache", attributes=x) for x in (u32(1, 5) + u32(2, 6), u32(2, 6) + u32(1, 5)))
    was = msgspec.structs.replace(WAS, ageing=(arp,))
    for ageing, said in (
        ((arp,), []),
        ((swapped,), []),
        ((Ageing(table="arp_cache", attributes=u32(1, 9)),), ["neighbour settings"]),
        ((), ["neighbour settings"]),
        ((arp, Ageing(table="ndisc_cache", attributes=b"")), []),
    ):
        assert differences(was, msgspec.structs.replace(was, ageing=ageing)) == said


def test_entries_and_groups_that_are_gone() -> None:
    """Entries by themselves; groups in the order of their names."""
    here, gone = (Neighbour(family=2, state=0x80, flags=f, type=0, attributes=b"") for f in (0, 8))
    groups = frozenset(f"239.1.1.{i}" for i in range(10, 60))
    was = msgspec.structs.replace(WAS, entries=(here, gone), groups=groups)
    now = msgspec.structs.replace(was, entries=(here,), groups=frozenset())
    assert differences(was, now) == [str(gone), *(f"multicast group {g}" for g in sorted(groups))]


def test_a_state_somebody_holds() -> None:
    """Dormancy is what counts; that carrier is not there yet is no difference."""
    assert differences(WAS, msgspec.structs.replace(WAS, attributes=link(state=6) + attribute(33, b"\0"))) == []
    held = msgspec.structs.replace(WAS, attributes=link_attributes.keep(link(state=5)))
    other = msgspec.structs.replace(WAS, attributes=link_attributes.keep(link(state=5, gso=1)))
    assert differences(held, other) == ["gso_max_size"]
    assert differences(held, WAS) == ["operational state"]


def test_a_program_that_came_is_named() -> None:
    now = msgspec.structs.replace(WAS, programs=(*WAS.programs, BpfProgram(hook="XDP generic", id=9)))
    assert differences(WAS, now) == ["XDP generic program 9"]


def test_an_older_record_is_compared_by_what_it_has() -> None:
    older = Captured(index=3, name="demo0", mtu=1500)
    assert differences(older, msgspec.structs.replace(WAS, mtu=1400)) == ["mtu"]


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), unique_by=lambda x: x[0], max_size=12))
def test_parents_come_before_what_hangs_from_them(pairs: list[tuple[int, int]]) -> None:
    """Any tree of classes below a root discipline, in any order; one whose parent is missing is kept all the same."""
    root = TcObject(message=RTM_NEWQDISC, handle=1 << 16, parent=queueing.TC_H_ROOT, info=0, attributes=b"")
    classes = [
        TcObject(message=queueing.RTM_NEWTCLASS, handle=1 << 16 | minor, parent=1 << 16 | above, info=0, attributes=b"")
        for minor, above in pairs
        if above < minor
    ]
    ordered = queueing.parents_first([*classes, root])
    assert sorted(n.handle for n in ordered) == sorted(n.handle for n in [*classes, root])
    place = {n.handle: i for i, n in enumerate(ordered)}
    for node in classes:
        if node.parent in place:
            assert place[node.parent] < place[node.handle]


def test_counters_are_no_difference() -> None:
    """htb counts packets in its options, u32 in an attribute of its own, actions in theirs."""

    def htb(packets: int) -> TcObject:
        glob = struct.pack("=IIIII", 0x30011, 10, 0x20, 0, packets)
        options = attribute(2, attribute(2, glob))
        return TcObject(message=RTM_NEWQDISC, handle=1 << 16, parent=0, info=0, attributes=text(1, "htb") + options)

    def u32_filter(hits: int, age: int) -> TcObject:
        action = attribute(1, text(1, "mirred") + u32(3, age))
        options = attribute(2, u32(9, hits) + attribute(7, action) + u32(1, 5))
        message = queueing.RTM_NEWTFILTER
        return TcObject(message=message, handle=2, parent=0, info=0, attributes=text(1, "u32") + options)

    assert queueing.missing((htb(7), u32_filter(1, 1)), (htb(0), u32_filter(0, 0))) == []
