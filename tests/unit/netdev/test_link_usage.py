"""What hangs on host links: what is asked of the kernel, and what becomes of its answers."""

import ipaddress
import struct
from collections.abc import Mapping
from typing import Any

import pytest

from crishim.linux import device_tree, net_namespaces
from crishim.linux.device_tree import Function
from crishim.linux.net_namespaces import NetnsPath
from crishim.linux.netlink.links import IFLA_IFNAME, IFLA_LINK, IFLA_LINK_NETNSID, Link
from crishim.linux.netlink.rtnetlink import attribute, nested, text, u32
from crishim.netdev import link_usage as module
from crishim.netdev.host_routes import RouteUsage
from crishim.netdev.link_usage import LinkUsage, read_usage
from tests.unit.netdev.fake_links import FakeEnd, veth

CARD, TUNNEL = Link(index=5, name="demo0"), Link(index=6, name="tun0", kind="ipip")
FUNCTION = Function("0000:03:10.0", "iavf", ())


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


class Message:
    def __init__(self, type: int, body: bytes) -> None:
        self.type, self.body = type, body


def address(index: int, local: str = "", peer: str = "", type: int = 20) -> Message:
    """RTM_NEWADDR: IFA_ADDRESS is the other end's where there is an IFA_LOCAL."""
    rest = (attribute(1, packed(peer)) if peer else b"") + (attribute(2, packed(local)) if local else b"")
    return Message(type, struct.pack("=BBBBI", 2, 24, 0, 0, index) + rest)


def elsewhere(name: str, parent: int, netns: int, kind: str = "macvlan") -> bytes:
    """RTM_NEWLINK of a link in another namespace."""
    head = struct.pack("=BxHiII", 0, 0, 77, 0, 0)
    numbers = u32(IFLA_LINK, parent) + attribute(IFLA_LINK_NETNSID, struct.pack("=i", netns))
    return head + text(IFLA_IFNAME, name) + numbers + nested(18, text(1, kind))


class Host(FakeEnd):
    """addresses: that its socket dumps."""

    def __init__(self, *addresses: Message) -> None:
        super().__init__()
        self.addresses = addresses

    def dump(self, *_: object) -> tuple[Message, ...]:
        return self.addresses


class Socket:
    def __enter__(self) -> "Socket":
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[bytes]]:
    """By handle, the links of other namespaces, in which the host's has the number 3."""
    found: dict[str, list[bytes]] = {}
    monkeypatch.setattr(
        module, "read_routes", lambda netlink, indexes, tunnels, theirs: _ways(indexes, tunnels, theirs)
    )
    monkeypatch.setattr(module, "Rtnetlink", Socket)
    monkeypatch.setattr(
        net_namespaces, "places", lambda known: [NetnsPath(1, p) for p in found] if known == {1} else []
    )
    monkeypatch.setattr(net_namespaces, "links_of", lambda place, *_: found[place.path])
    monkeypatch.setattr(net_namespaces, "number", lambda netlink, fd: 3)
    monkeypatch.setattr(device_tree, "uppers", lambda sysfs, name: ["over1", "over2"] if name == "demo0" else [])
    monkeypatch.setattr(device_tree, "functions", lambda sysfs, name: [FUNCTION])
    return found


def _ways(indexes: set[int], tunnels: list[int], theirs: Mapping[bytes, set[int]]) -> RouteUsage:
    """What was asked, as an answer."""
    return RouteUsage({}, dict.fromkeys(tunnels, str(sorted(indexes))), {}, frozenset(theirs))


def seen(host: Host, *links: Link) -> LinkUsage:
    end: Any = host
    return read_usage(end, links)


def test_nothing_is_looked_at_for_nothing() -> None:
    assert seen(Host()) == LinkUsage()


def test_addresses_and_routes(others: dict[str, list[bytes]]) -> None:
    """All owners, of which only those that are asked about have addresses here; tunnels are told apart."""
    host = Host(
        address(5, peer="192.0.2.5"),
        address(6, local="192.0.2.6", peer="192.0.2.66"),
        address(7, peer="192.0.2.5"),
        address(8, peer="192.0.2.8"),
        address(5, peer="192.0.2.9", type=3),
    )
    found = seen(host, CARD, TUNNEL)
    assert found.addresses == {5: {packed("192.0.2.5")}, 6: {packed("192.0.2.6")}}
    assert found.owners == {
        packed("192.0.2.5"): {5, 7},
        packed("192.0.2.6"): {6},
        packed("192.0.2.8"): {8},
    }
    assert found.ways.tunnelled == {6: "[5, 6]"}
    assert found.ways.sources == {packed("192.0.2.5"), packed("192.0.2.6")}


def test_sysfs(others: dict[str, list[bytes]]) -> None:
    """The first link on top; functions of hardware only."""
    found = seen(Host(), CARD, TUNNEL)
    assert found.above == {5: "over1"}
    assert found.functions == {5: [FUNCTION]}


def test_links_in_other_namespaces(others: dict[str, list[bytes]]) -> None:
    """On the device or its address; the first is told; the thread is back on the host."""
    others["/proc/7/ns/net"] = [elsewhere("mv0", 6, 3), elsewhere("mv1", 6, 3), elsewhere("mv2", 8, 3)]
    others["/run/netns/blue"] = [elsewhere("mv3", 6, 3), elsewhere("mv4", 5, 2)]
    host = Host(address(6, peer="192.0.2.6"))
    assert seen(host, veth(5, "v"), TUNNEL).above == {6: "mv0 in the network namespace of process 7"}
    assert host.entered == 1
    head = struct.pack("=BxHiII", 0, 0, 77, 0, 0)
    data = nested(18, text(1, "gre") + nested(2, attribute(6, packed("192.0.2.6"))))
    numbers = u32(IFLA_LINK, 0) + attribute(IFLA_LINK_NETNSID, struct.pack("=i", 3))
    others.clear()
    others["/run/netns/blue"] = [head + text(IFLA_IFNAME, "gre0") + numbers + data]
    assert seen(host, TUNNEL).above == {6: "gre0 in the network namespace of /run/netns/blue"}
    assert seen(host, veth(5, "v")).above == {}
    both = Host(address(6, peer="192.0.2.6"), address(7, peer="192.0.2.6"))  # which 7 has, too, and is not asked about
    assert seen(both, veth(5, "v"), TUNNEL).above == {6: "gre0 in the network namespace of /run/netns/blue"}


def test_what_is_of_another_namespace_or_a_pair(
    others: dict[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their numbers are the other namespace's; where the host has none there, nothing stands on it."""
    others["/run/netns/blue"] = [elsewhere("eth0", 6, 3, "veth"), elsewhere("mv0", 6, 4)]
    host = Host()
    assert seen(host, TUNNEL).above == {}
    monkeypatch.setattr(net_namespaces, "number", lambda netlink, fd: -1)
    others["/run/netns/blue"] = [elsewhere("mv0", 6, -1)]
    assert seen(host, TUNNEL).above == {}
    monkeypatch.setattr(net_namespaces, "number", lambda netlink, fd: 0)
    others["/run/netns/blue"] = [elsewhere("mv0", 6, 0)]
    assert seen(host, TUNNEL).above == {6: "mv0 in the network namespace of /run/netns/blue"}


def test_a_namespace_with_nothing_near(others: dict[str, list[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket is opened in it; one that cannot be read leaves the thread on the host."""
    monkeypatch.setattr(module, "Rtnetlink", lambda: pytest.fail("a socket was opened"))
    others["/run/netns/blue"] = []
    host = Host()
    assert seen(host, TUNNEL).above == {}
    monkeypatch.setattr(net_namespaces, "links_of", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        seen(host, TUNNEL)
    assert host.entered == 2
