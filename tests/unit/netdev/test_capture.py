"""What is captured of links: every table's part under its own name, and nothing the kernel makes by itself."""

import time
from typing import Any

import pytest
from msgspec.structs import replace

from crishim.linux import devconf, device_files, multicast
from crishim.linux.netlink import (
    addresses,
    ethtool,
    link_attributes,
    neighbours,
    nexthops,
    queueing,
    routes,
)
from crishim.linux.netlink.addresses import IFA_F_PERMANENT, IFA_F_STABLE_PRIVACY
from crishim.linux.netlink.routes import Route
from crishim.netdev import bpf_programs, virtual_functions
from crishim.netdev.capture import capture
from tests.unit.netdev.fake_addresses import address
from tests.unit.netdev.fake_links import FakeEnd, veth
from tests.unit.netdev.wire_calls import Calls

MINE, OWN = address("192.0.2.7/24", IFA_F_PERMANENT), address("2001:db8::7/64", IFA_F_STABLE_PRIVACY)
STATIC, KERNELS = (Route(header=bytes([2, 24, 0, 0, 254, by, 0, 1, 0, 0, 0, 0]), attributes=b"") for by in (4, 2))


@pytest.fixture
def tables(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Two links' parts of everything: a word for each, with its number."""

    def each(word: str) -> dict[int, Any]:
        return {index: (f"{word}{index}",) for index in (5, 6)}

    calls.tell(neighbours, dump_ageing=each("ageing"))
    calls.tell(addresses, dump_each={5: [MINE, OWN], 6: []})
    calls.tell(routes, dump_each={5: [STATIC, KERNELS], 6: []})
    calls.tell(neighbours, dump_each=each("entry"), dump_each_forwarding=each("forwarding"))
    calls.tell(multicast, filters=each("filter"), groups={"demo0": frozenset({"g5"}), "demo1": frozenset()})
    calls.tell(queueing, read_each=each("node"))
    calls.tell(nexthops, dump_each=each("nexthop"))
    monkeypatch.setattr(devconf, "parse", lambda value: ("settings", value))
    monkeypatch.setattr(devconf, "read_files", lambda name: (f"sysctls of {name}",))
    monkeypatch.setattr(link_attributes, "keep", lambda value: b"kept " + value)
    monkeypatch.setattr(ethtool, "read", lambda socket, index, kind: (index, kind))
    monkeypatch.setattr(device_files, "read", lambda sysfs, name: (f"files of {name}",))
    monkeypatch.setattr(bpf_programs, "read", lambda link, queued: (link.name, *queued))
    monkeypatch.setattr(virtual_functions, "read", lambda host, name: f"set of {name}".encode())
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: 42)
    return calls


def test_everything_of_each_link(tables: Calls) -> None:
    host: Any = FakeEnd()
    host.genetlink = host
    link = veth(5, "demo0", altnames=("also",), mtu=1400, mac=b"m", flags=0x11143, queue_length=7, group=3, alias="a")
    link = replace(link, parent=9, parent_netns=2, settings=b"s", attributes=b"x")
    found = capture(host, [link, veth(6, "demo1")])
    assert list(found) == [5, 6]
    one: Any = found[5]
    assert (one.index, one.name, one.altnames, one.kind) == (5, "demo0", ("also",), "veth")
    assert (one.mtu, one.mac, one.flags, one.queue_length, one.group, one.alias) == (1400, b"m", 0x1101, 7, 3, "a")
    assert (one.parent, one.parent_netns, one.complete, one.taken) == (9, 2, True, 42)
    assert (one.settings, one.attributes, one.sysctls) == (("settings", b"s"), b"kept x", ("sysctls of demo0",))
    assert (one.addresses, one.routes) == ((MINE,), (STATIC,))
    assert (one.ageing, one.entries) == (("ageing5",), ("entry5", "forwarding5"))
    assert (one.multicast, one.groups) == (("filter5",), {"g5"})
    assert (one.queueing, one.nexthops, one.programs) == (("node5",), ("nexthop5",), ("demo0", "node5"))
    assert (one.tunings, one.files) == ((5, "veth"), ("files of demo0",))
    assert (one.vf_settings, found[6].vf_settings) == (b"set of demo0", b"set of demo1")
    other: Any = found[6]
    assert other.entries == ("entry6", "forwarding6")
    assert host.entered == 1


def test_nothing_is_read_for_nothing() -> None:
    host: Any = FakeEnd()
    assert capture(host, []) == {}
    assert host.entered == 0
