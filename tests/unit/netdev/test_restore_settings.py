"""Per-device settings, put back: in one message or one by one, and only what differs."""

import struct
import time
from typing import Any

import pytest
from msgspec.structs import replace

from crishim.linux import devconf
from crishim.linux.devconf import Devconf
from crishim.linux.netlink import links, neighbours
from crishim.linux.netlink.links import (
    AF_INET,
    AF_INET6,
    IFLA_INET6_ADDR_GEN_MODE,
    IFLA_INET6_CONF,
    IFLA_INET6_TOKEN,
    IFLA_INET_CONF,
)
from crishim.linux.netlink.neighbours import Ageing
from crishim.linux.netlink.rtnetlink import attribute, nested
from crishim.netdev.records import Captured
from crishim.netdev.restore_context import RestoreContext
from crishim.netdev.restore_settings import restore_settings
from tests.unit.netdev.fake_links import FakeEnd, veth
from tests.unit.netdev.wire_calls import BUSY, INVALID, Calls

TOKEN = bytes(15) + b"\1"
MODE = IFLA_INET6_ADDR_GEN_MODE


def spec(ipv4: int = 0, hop_limit: int = 64, mode: int = 0, token: bytes = bytes(16)) -> bytes:
    """IFLA_AF_SPEC: the first IPv4 setting, the second IPv6 one, mode and token."""
    four = nested(AF_INET, attribute(IFLA_INET_CONF, struct.pack("=ii", ipv4, 0)))
    values = attribute(IFLA_INET6_CONF, struct.pack("=ii", 0, hop_limit))
    six = nested(AF_INET6, values + attribute(MODE, bytes([mode])) + attribute(IFLA_INET6_TOKEN, token))
    return four + six


WAS = Captured(index=5, name="demo0", mtu=1500, settings=devconf.parse(spec()))


@pytest.fixture
def made(calls: Calls, fake_links: None) -> Calls:
    calls.note(links, "set_ipv4_settings", "set_ipv6_attribute")
    calls.note(devconf, "write_ipv6", "write_file")
    calls.note(neighbours, "restore_ageing")
    calls.tell(devconf, read_files=())
    return calls


def place(was: Captured = WAS, **fields: Any) -> tuple[RestoreContext, Any]:
    host: Any = FakeEnd(veth(5, "demo0", **{"mtu": 1500, "settings": spec()} | fields))
    return RestoreContext(host, 5, "demo0", was), host.links[5]


def test_nothing_differs(made: Calls) -> None:
    restore_settings(*place())
    assert made.made == []


def test_ipv4_in_one_message(made: Calls) -> None:
    at, link = place(settings=spec(ipv4=1))
    (change,) = devconf.ipv4_changes(devconf.parse(spec(ipv4=1)), WAS.settings)
    restore_settings(at, link)
    assert made.made == [("set_ipv4_settings", 5, [change])]


def test_ipv4_one_by_one(made: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel refuses the whole, what it refuses by itself is named."""
    monkeypatch.setattr(devconf, "ipv4_changes", lambda *_: [(1, 5), (2, 6)])
    asked = []

    def refuse(netlink: object, index: int, values: list[tuple[int, int]]) -> None:
        asked.append(values)
        if (1, 5) in values:
            raise OSError(INVALID, "Invalid argument")

    monkeypatch.setattr(links, "set_ipv4_settings", refuse)
    at, link = place()
    restore_settings(at, link)
    assert asked == [[(1, 5), (2, 6)], [(1, 5)], [(2, 6)]]
    assert at.refusals == {f"net.ipv4.conf.{devconf.ipv4_name(1)}": "Invalid argument"}


def test_ipv6_each_by_its_file(made: Calls) -> None:
    at, link = place(settings=spec(hop_limit=9))
    made.refuse = {"write_ipv6": BUSY}
    restore_settings(at, link)
    assert at.refusals == {"net.ipv6.conf.hop_limit": "Device or resource busy"}
    made.refuse = {}
    restore_settings(at, link)
    assert made.made == [("write_ipv6", "hop_limit", 64)]


def test_a_small_mtu_had_no_ipv6(made: Calls) -> None:
    """What the link said as it came home does not count then; without one it is all there is to go by."""
    at, link = place(settings=spec(hop_limit=9))
    small = replace(link, mtu=1000, settings=b"")
    restore_settings(at, small)
    assert made.made == [("write_ipv6", "hop_limit", 64)]
    at, link = place()
    restore_settings(at, replace(link, settings=spec(hop_limit=9)))
    assert made.made[1:] == [("write_ipv6", "hop_limit", 64)]
    at.host.links.clear()  # type: ignore[attr-defined]
    restore_settings(at, replace(link, mtu=1000, settings=spec(hop_limit=8)))
    assert made.made[2:] == [("write_ipv6", "hop_limit", 64)]


def test_neighbour_ageing(made: Calls) -> None:
    ageing = (Ageing(table="arp_cache", attributes=b"a"), Ageing(table="ndisc_cache", attributes=b"b"))
    at, link = place(replace(WAS, ageing=ageing))
    restore_settings(at, link)
    assert made.made == [("restore_ageing", 5, each) for each in ageing]
    made.refuse = {"restore_ageing": BUSY}
    restore_settings(at, link)
    assert list(at.refusals) == ["neighbour settings"]


def test_files_of_what_no_message_tells(made: Calls) -> None:
    """Before the rest; the mode that a secret brought is looked at again."""
    secret, other = ("ipv6/conf/{}/stable_secret", "::1"), ("ipv4/conf/{}/x", "2")
    made.tell(devconf, read_files=(secret, ("ipv4/conf/{}/x", "1")))
    at, link = place(replace(WAS, sysctls=(secret, other)))
    restore_settings(at, link)
    assert made.made == [("write_file", *other)]
    made.refuse = {"write_file": BUSY}
    restore_settings(at, link)
    assert list(at.refusals) == [devconf.file_name(other[0])]
    made.refuse, made.made = {}, []
    at.host.replace(5, settings=spec(mode=2))  # type: ignore[attr-defined]
    restore_settings(at, link)
    assert made.made == [("write_file", *other), ("set_ipv6_attribute", 5, MODE, b"\0")]


def test_files_nobody_had(made: Calls) -> None:
    made.note(devconf, "read_files")
    restore_settings(*place())
    assert made.made == []


@pytest.mark.parametrize(
    ("wanted", "came", "now", "written"),
    [(0, 2, 2, True), (0, 2, 0, False), (0, 0, 2, False), (0, 0, 0, False)],
)
def test_how_addresses_are_made(made: Calls, wanted: int, came: int, now: int, written: bool) -> None:
    """Only if it differed as it came, or a secret may have changed it; and still does."""
    at, link = place(replace(WAS, settings=devconf.parse(spec(mode=wanted))), settings=spec(mode=came))
    at.host.replace(5, settings=spec(mode=now))  # type: ignore[attr-defined]
    restore_settings(at, link)
    assert made.made == ([("set_ipv6_attribute", 5, MODE, bytes([wanted]))] if written else [])
    if written:
        made.refuse = {"set_ipv6_attribute": BUSY}
        restore_settings(at, link)
        assert list(at.refusals) == ["addrgenmode"]


def test_a_mode_nobody_knows(made: Calls) -> None:
    """A record of a link without IPv6: none is set."""
    at, link = place(replace(WAS, settings=Devconf()), settings=spec(mode=2))
    restore_settings(at, link)
    assert made.made == []


def test_a_token(made: Calls) -> None:
    """Set if there was one; the settings are read again then, since it changes some."""
    at, link = place(replace(WAS, settings=devconf.parse(spec(token=TOKEN))))
    at.host.replace(5, settings=spec(token=TOKEN, hop_limit=9))  # type: ignore[attr-defined]
    restore_settings(at, link)
    assert made.made == [("set_ipv6_attribute", 5, IFLA_INET6_TOKEN, TOKEN), ("write_ipv6", "hop_limit", 64)]
    made.made = []
    at, link = place(settings=spec(token=TOKEN))
    restore_settings(at, link)  # none was there: a pod's cannot be taken off, the audit says so
    assert made.made == []
    at, link = place(replace(WAS, settings=devconf.parse(spec(token=TOKEN))), settings=spec(token=TOKEN))
    restore_settings(at, link)
    assert made.made == []


@pytest.mark.parametrize("error", [INVALID, BUSY])
def test_a_link_that_does_not_listen(made: Calls, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """It is made to listen, and the token is set then; any other refusal is one."""
    tries = []

    def token(netlink: object, index: int, kind: int, value: bytes) -> None:
        tries.append(kind)
        if len(tries) == 1:
            raise OSError(error, "no")

    monkeypatch.setattr(links, "set_ipv6_attribute", token)
    at, link = place(replace(WAS, settings=devconf.parse(spec(token=TOKEN))))
    restore_settings(at, link)
    listening = [
        ("write_ipv6", "forwarding", 0),
        ("write_ipv6", "accept_ra", 2),
        ("write_ipv6", "router_solicitations", 1),
    ]
    assert made.made == (listening if error == INVALID else [])
    assert len(tries) == (2 if error == INVALID else 1)
    assert at.refusals == ({} if error == INVALID else {"IPv6 token": "no"})


def test_how_long_it_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _: 5 * 10**9)
    host: Any = None
    assert RestoreContext(host, 5, "demo0", replace(WAS, taken=2 * 10**9)).away == 3.0
    assert RestoreContext(host, 5, "demo0", replace(WAS, taken=9 * 10**9)).away == 0.0
    assert RestoreContext(host, 5, "demo0", WAS).away == 0.0


def test_refusals_without_words() -> None:
    host: Any = None
    at = RestoreContext(host, 5, "demo0", WAS)

    def refuse() -> None:
        raise OSError("odd")

    with at.attempt("x"):
        refuse()
    assert at.refusals == {"x": "odd"}
