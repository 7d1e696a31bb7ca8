"""Into the pod, and what is made right there, on made-up links."""

import errno
import struct
from typing import Any

import pytest
from msgspec.structs import replace

from crishim.errors import CrishimError, Kind
from crishim.linux import devconf
from crishim.linux.devconf import ACCEPT_RA, Devconf
from crishim.linux.netlink.addresses import (
    IFA_F_DADFAILED,
    IFA_F_PERMANENT,
    RT_SCOPE_LINK,
)
from crishim.linux.netlink.links import AF_INET6, IFF_LOWER_UP, IFF_UP, IFLA_INET6_CONF
from crishim.linux.netlink.rtnetlink import attribute, nested
from crishim.netdev import verify
from crishim.netdev.records import Attachment, Captured
from tests.unit.netdev.fake_addresses import FakeAddresses, address
from tests.unit.netdev.fake_links import FakeEnd, attachment, veth

WAS = Captured(index=5, name="demo0", kind="veth", mtu=1400, mac=b"\2\0\0\0\0\1", altnames=("also", "net1"))
KNOWN = attachment(host=WAS)


def arrived(known: Attachment = KNOWN, **fields: Any) -> Any:
    """A pod with the device as the mover left it."""
    there: dict[str, Any] = {"mtu": 1400, "mac": WAS.mac, "altnames": (known.altname,), "flags": IFF_UP | IFF_LOWER_UP}
    return FakeEnd(veth(5, fields.pop("name", "net1"), **there | fields), inode=2)


def test_a_device_that_is_not_there(fake_links: None) -> None:
    pod = arrived()
    assert verify.locate(KNOWN, pod) == pod.links[5]
    empty: Any = FakeEnd(inode=2)
    with pytest.raises(CrishimError, match="demo0 is not in pod") as caught:
        verify.locate(KNOWN, empty)
    assert caught.value.kind is Kind.PRECONDITION


def test_what_arrived_as_it_should_is_left_alone(fake_links: None, fake_addresses: FakeAddresses) -> None:
    pod = arrived()
    found = verify.verify(KNOWN, pod.links[5], pod, first=True)
    assert pod.done == []
    assert found == (5, (), (), False)


def test_what_the_mover_got_wrong(fake_links: None, fake_addresses: FakeAddresses) -> None:
    """Name, MTU, MAC, UP and our mark, which somebody else may have."""
    pod = arrived(name="demo0", mtu=1500, mac=bytes(6), flags=0, altnames=())
    pod.links[6] = veth(6, "impostor", altnames=(KNOWN.altname,))
    pod.devices[6] = 1006
    verify.verify(KNOWN, pod.links[5], pod, first=True)
    link = pod.links[5]
    assert (link.name, link.mtu, link.mac, link.is_up, link.altnames) == ("net1", 1400, WAS.mac, True, (KNOWN.altname,))
    assert pod.links[6].altnames == ()
    assert ("change", 5, {"mac": WAS.mac, "mtu": 1400}) in pod.done


def test_what_the_pod_changed_is_its_business(fake_links: None, fake_addresses: FakeAddresses) -> None:
    """A later container finds it under its name and UP; MTU and MAC are as the pod has made them."""
    pod = arrived(name="mine", mtu=1300, mac=bytes(6), flags=0)
    verify.verify(KNOWN, pod.links[5], pod, first=False)
    link = pod.links[5]
    assert (link.name, link.mtu, link.mac, link.is_up) == ("net1", 1300, bytes(6), True)


def test_a_name_that_cannot_be_given_back(fake_links: None, fake_addresses: FakeAddresses) -> None:
    pod = arrived(name="mine")
    pod.refuse = {"change": errno.EEXIST}
    with pytest.raises(CrishimError, match="is called mine and cannot be called net1 again: File exists") as caught:
        verify.verify(KNOWN, pod.links[5], pod, first=False)
    assert caught.value.kind is Kind.PRECONDITION


GLOBAL = address("2001:db8::1/64", IFA_F_PERMANENT)
ON_THE_HOST = replace(WAS, addresses=(address("192.0.2.7/24", IFA_F_PERMANENT), GLOBAL))


def test_what_is_told_of_addresses(fake_links: None, fake_addresses: FakeAddresses) -> None:
    """Those of global scope; others of the pod's own go, but only at first."""
    known = attachment(host=ON_THE_HOST)
    pod = arrived(known)
    local = replace(address("fe80::1/64", IFA_F_PERMANENT), scope=RT_SCOPE_LINK)
    fake_addresses.found[5] = [address("203.0.113.1/24", IFA_F_PERMANENT), local]
    found = verify.verify(known, pod.links[5], pod, first=False)
    assert found.addresses == ("203.0.113.1/24", "192.0.2.7/24", "2001:db8::1/64")
    found = verify.verify(known, pod.links[5], pod, first=True)
    assert found == (5, ("192.0.2.7/24", "2001:db8::1/64"), (), False)


@pytest.mark.parametrize("first", [True, False])
def test_an_address_whose_detection_had_failed(fake_links: None, fake_addresses: FakeAddresses, first: bool) -> None:
    """Said once, to the first container."""
    known = attachment(host=replace(WAS, addresses=(replace(GLOBAL, flags=GLOBAL.flags | IFA_F_DADFAILED),)))
    found = verify.verify(known, (pod := arrived(known)).links[5], pod, first=first)
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
    verify.verify(known, pod.links[5], pod, first=first)
    assert writes == ([(1, "net1", ACCEPT_RA, 0)] if written else [])


def test_settings_of_an_older_record(fake_links: None, fake_addresses: FakeAddresses) -> None:
    """Unknown is not refused."""
    assert devconf.ipv6_value(Devconf(), ACCEPT_RA) is None
    pod = arrived(settings=settings(1))
    verify.verify(KNOWN, pod.links[5], pod, first=True)
    assert pod.entered == 0
