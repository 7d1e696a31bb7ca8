"""The device itself, put back: what is asked of the kernel where something differs, and nothing where nothing does."""

from typing import Any

import pytest
from msgspec.structs import replace

from crishim.linux import device_files
from crishim.linux.netlink import ethtool, link_attributes
from crishim.linux.netlink.ethtool import Tuning
from crishim.linux.netlink.links import IFF_KEPT, IFF_UP
from crishim.linux.netlink.rtnetlink import u32
from crishim.netdev import restore_link
from crishim.netdev.records import Captured
from crishim.netdev.restore_context import RestoreContext
from tests.unit.netdev.fake_links import FakeEnd, veth
from tests.unit.netdev.wire_calls import BUSY, Calls

MAC, OTHER = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"
WAS = Captured(
    index=5, name="demo0", mac=MAC, mtu=1400, queue_length=1000, group=3, alias="a", flags=IFF_UP, complete=True
)
LINK = veth(5, "demo0", mac=MAC, mtu=1400, queue_length=1000, group=3, alias="a", flags=IFF_UP | 0x10000)
RINGS, PAUSE = (Tuning(subject=s, attributes=u32(1, 1)) for s in ("rings", "pause"))


def place(was: Captured = WAS, **link: Any) -> RestoreContext:
    end: Any = FakeEnd(replace(LINK, **link))
    end.genetlink = end
    return RestoreContext(end, 5, "demo0", was)


def test_fields_that_differ(fake_links: None) -> None:
    """Each by itself, so that one refusal keeps no other from being restored; down for a new MAC."""
    at = place(mac=OTHER, mtu=1500, queue_length=1, group=0, alias="b")
    restore_link.restore_fields(at, at.host, at.host.links[5])  # type: ignore[attr-defined]
    assert at.host.done == [  # type: ignore[attr-defined]
        ("flags", 5, 0, IFF_UP),
        ("change", 5, {"mac": MAC}),
        ("change", 5, {"mtu": 1400}),
        ("change", 5, {"queue_length": 1000}),
        ("change", 5, {"group": 3}),
        ("change", 5, {"alias": "a"}),
    ]
    assert at.refusals == {}


def test_fields_that_are_right(fake_links: None) -> None:
    """UP and what the kernel says by flags are not this function's."""
    at = place(flags=0x10000)
    restore_link.restore_fields(at, at.host, at.host.links[5])  # type: ignore[attr-defined]
    assert at.host.done == []  # type: ignore[attr-defined]


def test_flags_a_user_sets(fake_links: None) -> None:
    at = place(replace(WAS, flags=IFF_UP | 0x100), flags=0x1000)
    restore_link.restore_fields(at, at.host, at.host.links[5])  # type: ignore[attr-defined]
    assert at.host.done == [("flags", 5, 0x100, IFF_KEPT & ~IFF_UP)]  # type: ignore[attr-defined]


def test_refusals_are_kept_by_name(fake_links: None) -> None:
    at = place(mac=OTHER, mtu=1500, queue_length=1, flags=0x100)
    at.host.refuse = {"change": BUSY, "flags": BUSY}  # type: ignore[attr-defined]
    restore_link.restore_fields(at, at.host, at.host.links[5])  # type: ignore[attr-defined]
    assert at.refusals == dict.fromkeys(("flags", "mac", "mtu", "queue length"), "Device or resource busy")


@pytest.fixture
def attributes(calls: Calls) -> Calls:
    calls.note(link_attributes, "write", "write_kind", "set_carrier", "hold")
    calls.tell(
        link_attributes,
        keep=b"",
        same_settings=False,
        changes=[(40, b"a"), (link_attributes.IFLA_PROTO_DOWN_REASON, b"b"), (41, b"c"), (39, b"d")],
        kind_changes=("veth", [(1, b"k")]),
    )
    return calls


def test_attributes(fake_links: None, attributes: Calls) -> None:
    """On the host by its ifindex there; the reason why a protocol holds it down goes before the rest."""
    at = place()
    restore_link.restore_link(at, LINK)
    reason = link_attributes.IFLA_PROTO_DOWN_REASON
    assert [x[2][0] for x in attributes.made if x[0] == "write"] == [reason, 39, 40, 41]
    assert attributes.made[-1] == ("write_kind", 5, "veth", (1, b"k"))
    attributes.refuse = {"write": BUSY, "write_kind": BUSY}
    restore_link.restore_attributes(at, LINK)
    names = [link_attributes.name(kind) for kind in (reason, 39, 40, 41)]
    assert list(at.refusals) == [*names, link_attributes.kind_name("veth", 1)]


def test_fields_and_attributes_are_one_step(fake_links: None, attributes: Calls) -> None:
    at = place(mtu=1500)
    restore_link.restore_link(at, at.host.links[5])  # type: ignore[attr-defined]
    assert at.host.links[5].mtu == 1400  # type: ignore[attr-defined]
    assert attributes.made


def test_attributes_that_are_left_alone(fake_links: None, attributes: Calls) -> None:
    """The same, or of a record that has none."""
    restore_link.restore_attributes(place(replace(WAS, complete=False)), LINK)
    attributes.tell(link_attributes, same_settings=True)
    restore_link.restore_attributes(place(), LINK)
    assert attributes.made == []


@pytest.mark.parametrize(
    ("was", "now", "made"),
    [
        ((0, True), (0, True), []),
        ((0, True), (0, False), [("set_carrier", 5)]),
        ((0, False), (0, False), []),
        ((0, False), (0, True), []),
        ((0, True), (1, True), [("hold", 5, 0)]),
        ((1, True), (0, False), [("set_carrier", 5), ("hold", 5, 1)]),
    ],
)
def test_carrier_and_dormancy(
    fake_links: None,
    attributes: Calls,
    monkeypatch: pytest.MonkeyPatch,
    was: tuple[int, bool],
    now: tuple[int, bool],
    made: list[tuple[Any, ...]],
) -> None:
    monkeypatch.setattr(link_attributes, "condition", lambda found: was if found == b"was" else now)
    at = place(replace(WAS, attributes=b"was"))
    restore_link.restore_condition(at)
    assert attributes.made == made
    attributes.refuse = {"hold": BUSY, "set_carrier": BUSY}
    restore_link.restore_condition(at)
    assert list(at.refusals) == (["operational state"] if was[0] != now[0] else [])
    attributes.made, attributes.refuse = [], {}
    restore_link.restore_condition(place(replace(WAS, attributes=b"was", complete=False)))
    at.host.links.clear()  # type: ignore[attr-defined]
    restore_link.restore_condition(at)
    assert attributes.made == []


def test_ethtool_settings(calls: Calls, fake_links: None) -> None:
    """Those that differ or are gone, written over what is there now."""
    calls.note(ethtool, "write")
    calls.tell(ethtool, read=(RINGS, replace(PAUSE, attributes=u32(1, 9))))
    at = place(replace(WAS, tunings=(RINGS, PAUSE)))
    restore_link.restore_tunings(at, LINK)
    assert calls.made == [("write", 5, PAUSE, replace(PAUSE, attributes=u32(1, 9)))]
    assert at.touched == {"tunings"}
    calls.tell(ethtool, read=())
    calls.refuse = {("write", RINGS): BUSY}
    restore_link.restore_tunings(at, LINK)
    assert calls.made[1:] == [("write", 5, PAUSE, None)]
    assert list(at.refusals) == ["ethtool rings"]


def test_settings_nobody_had(calls: Calls, fake_links: None) -> None:
    """Are not even read."""
    calls.note(ethtool, "read", "write")
    calls.note(device_files, "read_again", "write")
    at = place()
    restore_link.restore_tunings(at, LINK)
    restore_link.restore_files(at, LINK)
    restore_link.restore_refused_files(at)
    assert calls.made == []
    assert at.touched == set()


def test_files(calls: Calls, fake_links: None) -> None:
    """Those that differ; what was refused is tried again later, and a refusal then forgotten."""
    calls.note(device_files, "write")
    calls.tell(device_files, read_again={"a": "1", "b": "9"})
    at = place(replace(WAS, files=(("a", "1"), ("b", "2"), ("c", "3"))))
    calls.refuse = {("write", "c"): BUSY}
    restore_link.restore_files(at, LINK)
    assert calls.made == [("write", "demo0", "b", "2")]
    assert at.refusals == {"c": "Device or resource busy"}
    assert at.touched == {"files"}
    calls.refuse = {}
    restore_link.restore_refused_files(at)
    assert calls.made[1:] == [("write", "demo0", "c", "3")]
    assert at.refusals == {}
