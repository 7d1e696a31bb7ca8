"""What an OCI runtime took in the place of the device, and how it goes back."""

import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from crishim.errors import CrishimError, Kind
from crishim.linux.netlink.addresses import IFA_F_PERMANENT, IFA_F_STABLE_PRIVACY
from crishim.linux.netlink.links import IFF_UP
from crishim.netdev import wrong_device
from tests.unit.netdev.fake_addresses import FakeAddresses, address
from tests.unit.netdev.fake_links import FakeEnd, attachment, veth

KNOWN = attachment()
OWN = replace(address("2001:db8::9/64", IFA_F_PERMANENT), flags=IFA_F_PERMANENT | IFA_F_STABLE_PRIVACY)


@pytest.fixture
def ends(fake_links: None, fake_addresses: FakeAddresses, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """A host where the device has another name by now, and a pod with another one as net1."""
    monkeypatch.setattr(wrong_device, "entries", lambda end: {x.name: end.devices[i] for i, x in end.links.items()})
    host, pod = FakeEnd(veth(5, "renamed")), FakeEnd(veth(7, "net1", flags=IFF_UP), inode=2)
    fake_addresses.found[7] = [address("192.0.2.9/24", IFA_F_PERMANENT, label="net1"), OWN]
    return host, pod


def test_it_goes_back(ends: tuple[Any, Any], fake_addresses: FakeAddresses) -> None:
    """Under the name it was taken by, up as it is, with the addresses it was given; and that is an error."""
    host, pod = ends
    with pytest.raises(CrishimError, match="demo0 was renamed while it was given to pod default/a") as caught:
        wrong_device.send_back(KNOWN, frozenset({1005, 1007}), host, pod)
    assert caught.value.kind is Kind.ABORTED
    assert pod.done == [("move", 7, "demo0", True, None)]
    assert host.links[7].name == "demo0"
    assert [(str(a), a.label) for a in fake_addresses.found[7]] == [("2001:db8::9/64", ""), ("192.0.2.9/24", "demo0")]


def test_a_link_that_was_down_stays_down(ends: tuple[Any, Any]) -> None:
    host, pod = ends
    pod.replace(7, flags=0)
    host.links[6], host.devices[6] = veth(6, "demo0", altnames=(f"demo0-{KNOWN.id[:4]}",)), 1006
    with pytest.raises(CrishimError):
        wrong_device.send_back(KNOWN, frozenset({1007}), host, pod)
    assert pod.done == [("move", 7, f"demo0-{KNOWN.id[1:5]}", False, None)]


def test_addresses_on_their_way(ends: tuple[Any, Any], fake_addresses: FakeAddresses) -> None:
    """On the host they are usable at once, and without the flag for that."""
    host, pod = ends
    fake_addresses.found[7] = [address("2001:db8::7/64", IFA_F_PERMANENT)]
    act = pod.act

    def drop(*what: Any) -> None:  # a move takes the addresses
        act(*what)
        fake_addresses.found[7] = []

    pod.act = drop
    with pytest.raises(CrishimError):
        wrong_device.send_back(KNOWN, frozenset({1007}), host, pod)
    assert fake_addresses.done == [("add nodad", "2001:db8::7/64"), ("settle", "2001:db8::7/64")]


def test_what_stays(ends: tuple[Any, Any]) -> None:
    """The device itself, a link of the pod's own, nothing at all."""
    host, pod = ends
    wrong_device.send_back(KNOWN, frozenset({1005}), host, pod)
    pod.devices[7] = 1005
    wrong_device.send_back(KNOWN, frozenset({1005, 1007}), host, pod)
    pod.links.clear()
    wrong_device.send_back(KNOWN, frozenset({1005, 1007}), host, pod)
    assert pod.done == []


def test_entries_of_sysfs(tmp_path: Path) -> None:
    """Links by their own inodes, and no descriptor is left."""
    directory = tmp_path / "class/net"
    directory.mkdir(parents=True)
    for name in ("a", "b"):
        (directory / name).symlink_to("/nowhere")
    end: Any = FakeEnd()
    end.sysfs = os.open(tmp_path, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    assert wrong_device.entries(end) == {name: (directory / name).lstat().st_ino for name in ("a", "b")}
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(end.sysfs)
    (tmp_path / "other").write_text("")
    end.sysfs = os.open(tmp_path, os.O_RDONLY)
    (directory / "a").unlink()
    (directory / "b").unlink()
    directory.rmdir()
    directory.write_text("")
    with pytest.raises(NotADirectoryError):
        wrong_device.entries(end)
    os.close(end.sysfs)
