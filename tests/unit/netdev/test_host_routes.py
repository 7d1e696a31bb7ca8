"""What made-up routing tables say of links that are to be given away."""

import ipaddress
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from crishim.linux.netlink import routes
from crishim.linux.netlink.links import AF_INET, AF_INET6
from crishim.linux.netlink.rtnetlink import attribute, u32
from crishim.netdev.host_routes import RouteUsage, is_wide, read_routes, words

UNICAST, LOCAL, BROADCAST, ANYCAST, MULTICAST, UNREACHABLE = 1, 2, 3, 4, 5, 7
STATIC, BY_KERNEL = 4, 2
MAIN = 254


def body(
    to: str, *over: int, source: str = "", table: int = MAIN, kind: int = UNICAST, by: int = STATIC, nexthop: int = 0
) -> bytes:
    """An RTM_NEWROUTE body; over: ifindexes, several as a multipath route."""
    network = ipaddress.ip_network(to)
    family = AF_INET if network.version == 4 else AF_INET6
    header = struct.pack("=BBBBBBBBI", family, network.prefixlen, 0, 0, table % 256, by, 0, kind, 0)
    found = u32(15, table)
    if network.prefixlen:
        found += attribute(1, network.network_address.packed)
    if source:
        found += attribute(7, ipaddress.ip_address(source).packed)
    if len(over) == 1:
        found += u32(4, over[0])
    elif over:
        found += attribute(9, b"".join(struct.pack("=HBBi", 8, 0, 0, index) for index in over))
    return header + found + (u32(30, nexthop) if nexthop else b"")


class Tables:
    """A host's routes. hidden: by ifindex, those the kernel tells of only when asked for the link."""

    def __init__(self, *found: bytes, hidden: dict[int, list[bytes]] | None = None) -> None:
        self.found, self.hidden = found, hidden or {}
        self.asked: list[tuple[int, int]] = []

    def bodies(self, family: int, index: int = 0) -> Iterator[bytes]:
        self.asked.append((family, index))
        return iter([b for b in (self.hidden.get(index, []) if index else self.found) if b[0] == family])


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "bodies", Tables.bodies)


def seen(tables: Tables, tunnels: tuple[int, ...] = (), owners: dict[str, set[int]] | None = None) -> RouteUsage:
    netlink: Any = tables
    packed = {ipaddress.ip_address(a).packed: held for a, held in (owners or {}).items()}
    return read_routes(netlink, [5, 6], tunnels, packed)


@pytest.mark.parametrize(
    ("to", "kind", "said"),
    [
        ("0.0.0.0/0", UNICAST, "the default in table main"),
        ("::/0", UNICAST, "the IPv6 default in table main"),
        ("128.0.0.0/1", UNICAST, "128.0.0.0/1 in table main"),
        ("126.0.0.0/7", UNICAST, "126.0.0.0/7 in table main"),
        ("2000::/3", UNICAST, "2000::/3 in table main"),
        ("0.0.0.0/0", UNREACHABLE, "the default in table main"),
        ("10.0.0.0/8", UNICAST, ""),
        ("2000::/4", UNICAST, ""),
        ("224.0.0.0/4", UNICAST, ""),
        ("222.0.0.0/7", UNICAST, "222.0.0.0/7 in table main"),
        ("ff00::/8", MULTICAST, ""),
        ("0.0.0.0/1", BROADCAST, ""),
        ("::/0", ANYCAST, ""),
        ("::/0", MULTICAST, ""),
    ],
)
def test_routes_that_take_a_good_part_of_all_traffic(to: str, kind: int, said: str) -> None:
    """Each of their links has one; not for multicast or broadcast, nor what is narrower."""
    found = seen(Tables(body(to, 5, 7, kind=kind)))
    assert found.wide == ({5: said, 7: said} if said else {})
    assert is_wide(routes.read(body(to, 5, kind=kind))) is bool(said)


def test_multicast_as_wide_as_a_default() -> None:
    """224.0.0.0/4 written as /3 or wider is what starts with its first byte."""
    assert not is_wide(routes.read(body("224.0.0.0/3", 5)))
    assert is_wide(routes.read(body("192.0.0.0/3", 5)))


def test_the_first_route_of_a_link_is_told() -> None:
    """With its table, and the sources of all of them."""
    tables = Tables(
        body("0.0.0.0/0", 5, table=100, source="192.0.2.7"),
        body("0.0.0.0/0", 5, source="192.0.2.8"),
        body("::/0", 6, source="2001:db8::7"),
        body("10.0.0.0/8", 6, source="192.0.2.9"),
    )
    found = seen(tables)
    assert found.wide == {5: "the default in table 100", 6: "the IPv6 default in table main"}
    assert found.sources == {ipaddress.ip_address(a).packed for a in ("192.0.2.7", "192.0.2.8", "2001:db8::7")}
    assert seen(Tables(body("0.0.0.0/0", 5))).sources == frozenset()
    assert tables.asked == [(AF_INET, 0), (AF_INET6, 0)]


def test_routes_over_a_tunnel() -> None:
    """One that somebody made: not the kernel's own, nor what is not unicast."""
    made = body("10.1.0.0/16", 6, table=52)
    assert seen(Tables(made), (6,)).tunnelled == {6: "10.1.0.0/16 in table 52"}
    assert seen(Tables(made)).tunnelled == {}
    assert seen(Tables(made), (5,)).tunnelled == {}
    assert seen(Tables(body("10.1.0.0/16", 5, 6)), (6,)).tunnelled == {6: "10.1.0.0/16 in table main"}
    assert seen(Tables(body("10.1.0.0/16", 6, by=BY_KERNEL)), (6,)).tunnelled == {}
    assert seen(Tables(body("10.1.0.1/32", 6, kind=LOCAL)), (6,)).tunnelled == {}


def test_routes_of_other_links_with_its_address_as_source() -> None:
    owners = {"192.0.2.7": {5}, "2001:db8::7": {5, 6}}
    lent = body("10.1.0.0/16", 7, 8, source="192.0.2.7", table=9)
    tables = Tables(
        lent, body("10.2.0.0/16", 7, source="192.0.2.7"), body("2001:db8:1::/48", 7, source="2001:db8::7", by=BY_KERNEL)
    )
    low, high = (ipaddress.ip_address(a).packed for a in owners)
    assert seen(tables, owners=owners).borrowing == {
        low: ("10.1.0.0/16 in table 9", frozenset({7, 8})),
        high: ("2001:db8:1::/48 in table main", frozenset({7})),
    }


@pytest.mark.parametrize(
    "own",
    [
        body("10.1.0.0/16", 5, source="192.0.2.7"),
        body("10.1.0.0/16", 5, 7, source="192.0.2.7"),  # one of its ways is the link's own
        body("10.1.0.0/16", 7, source="192.0.2.8"),
        body("10.1.0.0/16", 7),
        body("192.0.2.7/32", 7, source="192.0.2.7", kind=LOCAL),
        body("10.1.0.0/16", source="192.0.2.7"),  # over no link at all
    ],
)
def test_routes_that_borrow_no_address(own: bytes) -> None:
    assert seen(Tables(own), owners={"192.0.2.7": {5}}).borrowing == {}
    assert seen(Tables(own), (5,), {"192.0.2.7": {5}}).borrowing == {}


def test_a_source_is_found_wherever_it_is_written() -> None:
    """The bytes that introduce it may be those of something else before it."""
    route = body("10.1.0.0/16", 7)
    decoy = attribute(99, struct.pack("=HH", 8, 7) + bytes(4))
    source = attribute(7, bytes([192, 0, 2, 7]))
    found = seen(Tables(route + decoy + source), owners={"192.0.2.7": {5}})
    assert list(found.borrowing) == [bytes([192, 0, 2, 7])]
    assert seen(Tables(route + decoy), owners={"192.0.2.7": {5}}).borrowing == {}


def test_routes_by_nexthop_objects_that_hide_their_links() -> None:
    """net.ipv4.nexthop_compat_mode = 0: the kernel is asked for each link what goes over it."""
    default = body("0.0.0.0/0", nexthop=3)
    narrow = body("10.1.0.0/16", nexthop=4, source="192.0.2.7")
    own = body("10.2.0.0/16", nexthop=5, source="192.0.2.7")
    shown = body("10.3.0.0/16", 5, nexthop=6, source="192.0.2.7")
    tables = Tables(default, narrow, own, shown, hidden={5: [own], 6: [narrow, default]})
    found = seen(tables, owners={"192.0.2.7": {5}})
    assert found.wide == {6: "the default in table main"}
    assert found.borrowing == {bytes([192, 0, 2, 7]): ("10.1.0.0/16 in table main", frozenset())}
    assert tables.asked == [(AF_INET, 0), (AF_INET, 5), (AF_INET, 6), (AF_INET6, 0)]


def test_another_links_source_by_a_nexthop_object() -> None:
    """An address nobody asked about may be borrowed."""
    found = seen(Tables(body("10.1.0.0/16", nexthop=4, source="192.0.2.9")), (5,), {"192.0.2.7": {5}})
    assert found.borrowing == {}


def test_routes_in_words() -> None:
    assert words(routes.read(body("0.0.0.0/0", 5))) == "the default in table main"
    assert words(routes.read(body("2001:db8::/32", 5, table=1000))) == "2001:db8::/32 in table 1000"
    odd = bytes([AF_INET, 8]) + body("10.0.0.0/8", 5)[2:12] + attribute(1, bytes([10, 1, 0, 0]))
    assert words(routes.read(odd)) == "10.0.0.0/8 in table main"
