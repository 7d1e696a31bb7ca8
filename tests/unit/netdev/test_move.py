"""Into the pod, and what is made right there, on made-up links."""

import errno
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from crishim.errors import CrishimError, Kind
from crishim.linux import devconf
from crishim.linux.devconf import ACCEPT_RA, Settings
from crishim.linux.netlink.addresses import (
    IFA_F_DADFAILED,
    IFA_F_PERMANENT,
    IFA_F_TENTATIVE,
    RT_SCOPE_LINK,
)
from crishim.linux.netlink.links import AF_INET6, IFF_LOWER_UP, IFF_UP, IFLA_INET6_CONF
from crishim.linux.netlink.rtnetlink import attribute, nested
from crishim.netdev import move
from crishim.netdev.records import Attachment, Captured
from tests.unit.netdev.fake_addresses import FakeAddresses, address
from tests.unit.netdev.fake_links import FakeEnd, attachment, veth

WAS = Captured(index=5, name="demo0", kind="veth", mtu=1400, mac=b"\2\0\0\0\0\1", altnames=("also", "net1"))
KNOWN = attachment(host=WAS)


def ends() -> tuple[Any, Any]:
    """The host with the device, and an empty pod."""
    return FakeEnd(veth(5, "demo0", altnames=WAS.altnames, mtu=1400, mac=WAS.mac, flags=IFF_UP)), FakeEnd(inode=2)


def arrived(known: Attachment = KNOWN, **fields: Any) -> Any:
    """A pod with the device as the mover left it."""
    there: dict[str, Any] = {"mtu": 1400, "mac": WAS.mac, "altnames": (known.altname,), "flags": IFF_UP | IFF_LOWER_UP}
    return FakeEnd(veth(5, fields.pop("name", "net1"), **there | fields), inode=2)


def test_our_mark_and_the_name_to_be(fake_links: None) -> None:
    """An altname that is to be its name goes, the others stay."""
    host, pod = ends()
    move.mark(KNOWN, host)
    assert host.links[5].altnames == ("also", KNOWN.altname)
    move.move(KNOWN, host, pod)
    assert host.links == {}
    assert (pod.links[5].name, pod.links[5].is_up) == ("net1", True)
    other = attachment(host=WAS, name="net2")
    host, pod = ends()
    move.mark(other, host)
    assert host.links[5].altnames == ("also", "net1", other.altname)


@pytest.mark.parametrize(("error", "kind"), [(errno.ENODEV, Kind.NOT_FOUND), (errno.EEXIST, Kind.PRECONDITION)])
def test_a_refused_move(fake_links: None, error: int, kind: Kind) -> None:
    host, pod = ends()
    host.refuse = {"move": error}
    with pytest.raises(CrishimError, match="demo0 could not be moved to pod default/a as net1") as caught:
        move.move(KNOWN, host, pod)
    assert caught.value.kind is kind


def test_a_device_that_is_not_there(fake_links: None) -> None:
    pod = arrived()
    assert move.locate(KNOWN, pod) == pod.links[5]
    empty: Any = FakeEnd(inode=2)
    with pytest.raises(CrishimError, match="demo0 is not in pod") as caught:
        move.locate(KNOWN, empty)
    assert caught.value.kind is Kind.PRECONDITION


def test_what_arrived_as_it_should_is_left_alone(fake_links: None, fake_addresses: FakeAddresses) -> None:
    pod = arrived()
    found = move.verify(KNOWN, pod.links[5], pod, first=True)
    assert pod.done == []
    assert found == (5, (), (), False)


def test_what_the_mover_got_wrong(fake_links: None, fake_addresses: FakeAddresses) -> None:
    """Name, MTU, MAC, UP and our mark, which somebody else may have."""
    pod = arrived(name="demo0", mtu=1500, mac=bytes(6), flags=0, altnames=())
    pod.links[6] = veth(6, "impostor", altnames=(KNOWN.altname,))
    pod.devices[6] = 1006
    move.verify(KNOWN, pod.links[5], pod, first=True)
    link = pod.links[5]
    assert (link.name, link.mtu, link.mac, link.is_up, link.altnames) == ("net1", 1400, WAS.mac, True, (KNOWN.altname,))
    assert pod.links[6].altnames == ()
    assert ("change", 5, {"mac": WAS.mac, "mtu": 1400}) in pod.done


def test_what_the_pod_changed_is_its_business(fake_links: None, fake_addresses: FakeAddresses) -> None:
    """A later container finds it under its name and UP; MTU and MAC are as the pod has made them."""
    pod = arrived(name="mine", mtu=1300, mac=bytes(6), flags=0)
    move.verify(KNOWN, pod.links[5], pod, first=False)
    link = pod.links[5]
    assert (link.name, link.mtu, link.mac, link.is_up) == ("net1", 1300, bytes(6), True)


def test_a_name_that_cannot_be_given_back(fake_links: None, fake_addresses: FakeAddresses) -> None:
    pod = arrived(name="mine")
    pod.refuse = {"change": errno.EEXIST}
    with pytest.raises(CrishimError, match="is called mine and cannot be called net1 again: File exists") as caught:
        move.verify(KNOWN, pod.links[5], pod, first=False)
    assert caught.value.kind is Kind.PRECONDITION


GLOBAL = address("2001:db8::1/64", IFA_F_PERMANENT)
ON_THE_HOST = replace(WAS, addresses=(address("192.0.2.7/24", IFA_F_PERMANENT), GLOBAL))


def test_what_is_told_of_addresses(fake_links: None, fake_addresses: FakeAddresses) -> None:
    """Those of global scope; others of the pod's own go, but only at first."""
    known = attachment(host=ON_THE_HOST)
    pod = arrived(known)
    local = replace(address("fe80::1/64", IFA_F_PERMANENT), scope=RT_SCOPE_LINK)
    fake_addresses.found[5] = [address("203.0.113.1/24", IFA_F_PERMANENT), local]
    found = move.verify(known, pod.links[5], pod, first=False)
    assert found.addresses == ("203.0.113.1/24", "192.0.2.7/24", "2001:db8::1/64")
    found = move.verify(known, pod.links[5], pod, first=True)
    assert found == (5, ("192.0.2.7/24", "2001:db8::1/64"), (), False)


@pytest.mark.parametrize("first", [True, False])
def test_an_address_whose_detection_had_failed(fake_links: None, fake_addresses: FakeAddresses, first: bool) -> None:
    """Said once, to the first container."""
    known = attachment(host=replace(WAS, addresses=(replace(GLOBAL, flags=GLOBAL.flags | IFA_F_DADFAILED),)))
    found = move.verify(known, (pod := arrived(known)).links[5], pod, first=first)
    said = ("2001:db8::1/64 had failed duplicate address detection on the host",)
    assert found.problems == (said if first else ())
    assert found.undecided


def settings(accept_ra: int) -> bytes:
    """IFLA_AF_SPEC with that value, the others 0."""
    values = [0] * len(devconf.IPV6_NAMES)
    values[devconf.IPV6_NAMES.index(ACCEPT_RA)] = accept_ra
    return nested(AF_INET6, attribute(IFLA_INET6_CONF, struct.pack(f"={len(values)}i", *values)))


@pytest.mark.parametrize(
    ("on_host", "in_pod", "first", "written"),
    [(0, 1, True, True), (0, 1, False, False), (0, 0, True, False), (1, 1, True, False), (2, 1, True, False)],
)
def test_router_advertisements(
    fake_links: None,
    fake_addresses: FakeAddresses,
    monkeypatch: pytest.MonkeyPatch,
    on_host: int,
    in_pod: int,
    first: bool,
    written: bool,
) -> None:
    """Refused on the host, they are refused in the pod, in the pod's own namespace."""
    writes = []
    known = attachment(host=replace(WAS, settings=devconf.parse(settings(on_host))))
    pod = arrived(known, settings=settings(in_pod))
    monkeypatch.setattr(devconf, "write_ipv6", lambda *what: writes.append((pod.entered, *what)))
    move.verify(known, pod.links[5], pod, first=first)
    assert writes == ([(1, "net1", ACCEPT_RA, 0)] if written else [])


def test_settings_of_an_older_record(fake_links: None, fake_addresses: FakeAddresses) -> None:
    """Unknown is not refused."""
    assert devconf.ipv6_value(Settings(), ACCEPT_RA) is None
    pod = arrived(settings=settings(1))
    move.verify(KNOWN, pod.links[5], pod, first=True)
    assert pod.entered == 0


class Bell:
    """A listener that notes how long it was to wait, and lets something happen meanwhile."""

    def __init__(self, *happenings: Any) -> None:
        self.waited: list[float] = []
        self._happenings = list(happenings)

    def __enter__(self) -> "Bell":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self._happenings.pop(0)()


@pytest.mark.parametrize(
    ("flags", "link", "said"),
    [
        (IFA_F_TENTATIVE, IFF_UP, "2001:db8::1/64 stays tentative: net1 has no carrier"),
        (IFA_F_DADFAILED | IFA_F_TENTATIVE, IFF_UP | IFF_LOWER_UP, "is in use elsewhere on the link"),
    ],
)
def test_what_is_not_waited_for(
    fake_links: None, fake_addresses: FakeAddresses, monkeypatch: pytest.MonkeyPatch, flags: int, link: int, said: str
) -> None:
    """A detection that has failed, and one that will never end."""
    bell = Bell()
    monkeypatch.setattr(move, "Listener", lambda: bell)
    known, gone = attachment(host=ON_THE_HOST), attachment(id="f" * 16, index=77)
    fake_addresses.found[5] = [replace(GLOBAL, flags=IFA_F_PERMANENT | flags)]
    pod = arrived(known, flags=link)
    found = move.await_detection([gone, known], pod, 5)
    assert [said in text for text in found[known.id]] == [True]
    assert list(found) == [known.id]
    assert bell.waited == []
    assert pod.entered == 1


def test_waiting_for_detection(
    fake_links: None, fake_addresses: FakeAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it has ended, or the time has."""
    known = attachment(host=ON_THE_HOST)
    tentative = replace(GLOBAL, flags=IFA_F_PERMANENT | IFA_F_TENTATIVE)
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def end() -> None:
        fake_addresses.found[5] = [GLOBAL]

    def later(seconds: float) -> Callable[[], None]:
        return lambda: now.__setitem__(0, now[0] + seconds)

    said = ["2001:db8::1/64 is still tentative: duplicate address detection has not ended"]
    for happenings, waits, doubts in (
        ([later(3), end], [5.0, 2.0], {}),
        ([later(3), later(1.5), later(0.5)], [5.0, 2.0, 0.5], {known.id: said}),
    ):
        fake_addresses.found[5] = [tentative]
        bell = Bell(*happenings)
        monkeypatch.setattr(move, "Listener", lambda bell=bell: bell)
        now[0] = 100.0
        assert move.await_detection([known], arrived(known), 5.0) == doubts
        assert bell.waited == waits


def test_what_is_listened_to() -> None:
    """Changes of IPv6 addresses (group 9), in this thread's namespace; the socket is closed in the end."""
    with move.Listener() as listener, move.Listener():  # several at once
        heard = listener._socket
        assert (heard.family, heard.getsockname()[1]) == (socket.AF_NETLINK, 0x100)
        assert not heard.get_inheritable()
    assert heard.fileno() == -1


def test_what_was_heard_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a message; nothing heard is waited for a quarter of a second at most, an overrun is a change too."""
    waits: list[float] = []
    with move.Listener() as listener:
        listener._socket.close()
        listener._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with other:
            other.send(b"x")
            listener.wait(5)
            listener._socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener._socket.recv(1)
            read, look = listener._socket, select.select

            def at_once(*what: Any) -> Any:
                waits.append(what[3])
                return look(what[0], what[1], what[2], 0)

            monkeypatch.setattr(select, "select", at_once)
            listener.wait(5)
            listener.wait(0.1)
            assert waits == [0.25, 0.1]
            monkeypatch.setattr(select, "select", lambda *what: ([read], [], []))
            listener.wait(5)  # nothing there after all: EAGAIN stands for ENOBUFS
