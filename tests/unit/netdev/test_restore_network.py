"""What of the host's network went over the device: what is put back, in which order, and what is not touched."""

import errno
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from crishim.linux import bpf, multicast
from crishim.linux.bpf import BpfProgram
from crishim.linux.netlink import neighbours, nexthops, queueing, routes
from crishim.linux.netlink.neighbours import AF_BRIDGE, Neighbour
from crishim.linux.netlink.nexthops import Nexthop
from crishim.linux.netlink.queueing import RTM_NEWQDISC, TcObject
from crishim.linux.netlink.routes import Route
from crishim.linux.netlink.rtnetlink import attribute, text, u32
from crishim.netdev import restore_network as network
from crishim.netdev.bpf_programs import TC_FILTER
from crishim.netdev.records import Captured
from crishim.netdev.restore_context import RestoreContext
from tests.unit.netdev.wire_calls import BUSY, Calls


def place(**was: Any) -> RestoreContext:
    """demo0, back on the host with ifindex 9; it was 5."""
    host: Any = type("Host", (), {"netlink": "netlink"})()
    return RestoreContext(host, 9, "demo0", Captured(index=5, name="demo0", **was))


def test_nexthops_and_their_groups(calls: Calls) -> None:
    """In the order captured; a group by its members, the others over the link."""
    calls.note(nexthops, "add", "add_group")
    one = Nexthop(header=bytes(8), attributes=u32(1, 77))
    group = Nexthop(header=bytes(8), attributes=u32(1, 78) + attribute(2, struct.pack("=IBBH", 77, 0, 0, 0)))
    at = place(nexthops=(one, group))
    network.restore_nexthops(at)
    assert calls.made == [("add", one, 9), ("add_group", group)]
    calls.refuse = {"add": BUSY, "add_group": BUSY}
    network.restore_nexthops(at)
    assert list(at.refusals) == ["nexthop 77", "nexthop 78"]


def route(*rest: bytes, table: int = 254) -> Route:
    return Route(header=struct.pack("=BBBBBBBBI", 2, 24, 0, 0, table, 4, 0, 1, 0), attributes=b"".join(rest))


PLAIN, BEHIND, OBJECT = route(u32(4, 5)), route(attribute(5, b"gate"), table=9), route(u32(30, 77))


def test_routes_through_a_gateway_come_last(calls: Calls) -> None:
    """They need the others; all are told which ifindex is another now."""
    calls.note(routes, "add")
    assert network.restore_routes(place(routes=(BEHIND, OBJECT, PLAIN))) == []
    assert calls.made == [("add", r, {5: 9}) for r in (PLAIN, BEHIND, OBJECT)]


def test_routes_that_are_refused(calls: Calls) -> None:
    """Said, unless it is there already."""
    calls.note(routes, "add")
    calls.refuse = {"add": errno.ENETUNREACH}
    assert network.restore_routes(place(routes=(PLAIN, BEHIND, OBJECT))) == [
        "a route in table 254 over demo0 was not restored: Network is unreachable",
        "a route in table 9 over demo0 was not restored: Network is unreachable",
        "a route by a nexthop object over demo0 was not restored: Network is unreachable",
    ]
    calls.refuse = {"add": errno.EEXIST}
    assert network.restore_routes(place(routes=(PLAIN,))) == []


def test_routes_that_have_expired(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    calls.note(routes, "add")
    monkeypatch.setattr(routes, "aged", lambda route, seconds: None if route is PLAIN else route)
    assert network.restore_routes(place(routes=(PLAIN, BEHIND))) == []
    assert calls.made == [("add", BEHIND, {5: 9})]


ARP, PROXY = (Neighbour(family=2, state=0x80, flags=f, type=0, attributes=b"") for f in (0, 8))
BRIDGE = Neighbour(family=AF_BRIDGE, state=0x80, flags=0, type=0, attributes=attribute(2, b"\2\0\0\0\0\1"))


@pytest.fixture
def entries(calls: Calls) -> Calls:
    calls.note(neighbours, "add", "remove")
    calls.note(neighbours, "dump", answer=lambda *_: (PROXY,))
    calls.note(neighbours, "dump_forwarding", answer=lambda *_: (BRIDGE,))
    return calls


def test_neighbours(entries: Calls) -> None:
    """What is missing comes, what was not there goes."""
    at = place(entries=(ARP,), kind="veth")
    network.restore_entries(at)
    assert entries.made == [("dump", 9), ("remove", 9, PROXY), ("add", 9, ARP)]
    entries.refuse = {"add": BUSY, "remove": BUSY}
    network.restore_entries(at)
    assert list(at.refusals) == [str(PROXY), str(ARP)]


@pytest.mark.parametrize(
    ("kind", "was", "read"),
    [
        ("veth", (), []),
        ("veth", (ARP,), ["dump"]),
        ("veth", (BRIDGE,), ["dump", "dump_forwarding"]),
        ("vxlan", (), ["dump", "dump_forwarding"]),
    ],
)
def test_what_is_read_of_neighbours(entries: Calls, kind: str, was: tuple[Neighbour, ...], read: list[str]) -> None:
    """Nothing if there was nothing; a vxlan's forwarding entries always, as a pod's stay on it."""
    network.restore_entries(place(entries=was, kind=kind))
    assert [name for name, *_ in entries.made if name.startswith("dump")] == read


def test_forwarding_entries_of_a_pod(entries: Calls) -> None:
    network.restore_entries(place(kind="vxlan"))
    assert entries.made[2:] == [("remove", 9, PROXY), ("remove", 9, BRIDGE)]
    entries.made = []
    network.restore_entries(place(kind="veth", entries=(BRIDGE, PROXY)))
    assert entries.made == [("dump", 9), ("dump_forwarding", 9)]


def test_multicast_filters(calls: Calls) -> None:
    one, two = b"\1\0\x5e\0\0\1", b"\1\0\x5e\0\0\2"
    calls.note(multicast, "change_filter")
    calls.note(multicast, "filters", answer=lambda *_: {9: (one,)})
    network.restore_multicast(place())
    assert calls.made == []
    at = place(multicast=(one, two))
    network.restore_multicast(at)
    assert calls.made[1:] == [("change_filter", two, True)]
    calls.refuse = {"change_filter": BUSY}
    network.restore_multicast(at)
    assert list(at.refusals) == ["multicast filter 01:00:5e:00:00:02"]


def node(number: int, kind: str = "pfifo") -> TcObject:
    return TcObject(message=RTM_NEWQDISC, handle=number << 16, parent=0xFFFFFFFF, info=0, attributes=text(1, kind))


FILTER = BpfProgram(hook=TC_FILTER, id=7, name="f")


@pytest.fixture
def queues(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Nothing is there; nodes 7 and 8 run programs of these numbers."""
    calls.note(queueing, "add")
    calls.note(queueing, "read", answer=lambda *_: ())
    calls.tell(network, is_loaded=True)
    monkeypatch.setattr(queueing, "program_of", lambda n: n.handle >> 16 if n.handle >> 16 in (7, 8) else 0)
    monkeypatch.setattr(queueing, "with_program", lambda n, fd: (n, fd))

    @contextmanager
    def opened(command: int, id: int) -> Iterator[int]:
        yield 100 + id

    monkeypatch.setattr(bpf, "opened", opened)
    return calls


def test_queueing(queues: Calls) -> None:
    """A filter is given its program again, if it is one the host had; others come as they were."""
    at = place(queueing=(node(1), node(7), node(8)), programs=(FILTER, BpfProgram(hook="tcx ingress", id=8)))
    network.restore_queueing(at)
    assert queues.made == [("read", 9), ("add", 9, node(1)), ("add", 9, (node(7), 107)), ("add", 9, node(8))]
    queues.refuse = {"add": BUSY}
    network.restore_queueing(at)
    assert list(at.refusals) == [str(n) for n in (node(1), node(7), node(8))]


def test_a_program_that_is_gone(queues: Calls) -> None:
    queues.tell(network, is_loaded=False)
    at = place(queueing=(node(7),), programs=(FILTER,))
    network.restore_queueing(at)
    assert at.refusals == {str(node(7)): "tc filter program 7 (f) is not loaded any more"}


def test_no_queueing(queues: Calls) -> None:
    network.restore_queueing(place())
    assert queues.made == []
    queues.note(queueing, "read", answer=lambda *_: (node(1),))
    network.restore_queueing(place(queueing=(node(1),)))
    assert queues.made == [("read", 9)]
