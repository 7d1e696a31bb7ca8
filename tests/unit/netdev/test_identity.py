"""When two descriptions are of one device."""

import pytest
from msgspec.structs import replace

from crishim.netdev.identity import same
from crishim.netdev.records import Identity

VETH = Identity(inode=7, kind="veth")
NIC = Identity(inode=8, bus="pci", bus_device="0000:03:00.0", port="p0", permanent_mac=b"\2\0\0\0\0\1")


def test_the_same_kernel_device() -> None:
    """The inode alone says so, for any kind."""
    assert same(VETH, VETH)
    assert same(NIC, replace(NIC, port="p1"))


@pytest.mark.parametrize("other", [replace(VETH, inode=9), replace(VETH, kind="ifb"), Identity(kind="veth")])
def test_another_virtual_device(other: Identity) -> None:
    """Nothing makes up for another inode, or another kind; an unknown inode is no proof."""
    assert not same(VETH, other)
    assert not same(other, VETH)
    assert not same(Identity(kind="veth"), other)


def test_hardware_that_was_plugged_in_again() -> None:
    """Bus, place, port and permanent MAC together; any of them different or unknown is another device."""
    again = replace(NIC, inode=9)
    assert same(NIC, again)
    for field, value in (("bus", "usb"), ("bus_device", "0000:03:00.1"), ("port", "p1"), ("permanent_mac", b"")):
        assert not same(NIC, replace(again, **{field: value}))
    nameless = replace(NIC, permanent_mac=b"")
    assert not same(nameless, replace(nameless, inode=9))
