"""A virtual function's settings seen from its physical one, over a sysfs tree and a kernel made here.

netdevsim, which has virtual functions without hardware, is not in this kernel.
"""

import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crishim.linux.netlink import links
from crishim.linux.netlink import vf_settings as wire
from crishim.linux.netlink.links import RTM_GETLINK, RTM_NEWLINK, RTM_SETLINK, header
from crishim.linux.netlink.rtnetlink import NetlinkMessage, attribute, attributes, nested, table
from crishim.netdev import virtual_functions
from crishim.netdev.differences import differences
from crishim.netdev.records import Captured
from crishim.netdev.restore_context import RestoreContext

PF = 7  # ifindex


class Kernel:
    """A physical function with two virtual ones, spoken to in rtnetlink's own bytes (net/core/rtnetlink.c)."""

    def __init__(self, sysfs: int) -> None:
        self.sysfs = sysfs
        self.netlink: Any = self
        self.refuse: dict[int, int] = {}
        self.set: list[int] = []
        self.functions: list[dict[int, bytes]] = [
            {
                wire.IFLA_VF_MAC: struct.pack("=I32s", n, bytes([2, 0, 0, 0, 0, n])),
                wire.IFLA_VF_VLAN: struct.pack("=III", n, 0, 0),
                wire.IFLA_VF_VLAN_LIST: attribute(wire.IFLA_VF_VLAN_INFO, struct.pack("=IIIHxx", n, 0, 0, 0x81)),
                wire.IFLA_VF_TX_RATE: struct.pack("=II", n, 0),
                wire.IFLA_VF_RATE: struct.pack("=III", n, 0, 0),
                wire.IFLA_VF_SPOOFCHK: struct.pack("=II", n, 1),
                wire.IFLA_VF_TRUST: struct.pack("=II", n, 0xFFFFFFFF),
                99: struct.pack("=II", n, 5),  # of a later kernel
                wire.IFLA_VF_STATS: os.urandom(16),
            }
            for n in (0, 1)
        ]

    def ask(self, kind: int, body: bytes) -> NetlinkMessage:
        assert (kind, body[: len(header())]) == (RTM_GETLINK, header(PF))
        infos = [nested(wire.IFLA_VF_INFO, *(attribute(k, v) for k, v in f.items())) for f in self.functions]
        return NetlinkMessage(RTM_NEWLINK, header(PF) + nested(wire.IFLA_VFINFO_LIST, *infos))

    def request(self, kind: int, body: bytes) -> None:
        assert (kind, body[: len(header())]) == (RTM_SETLINK, header(PF))
        (info,) = attributes(table(body[len(header()) :])[wire.IFLA_VFINFO_LIST])
        assert info[0] == wire.IFLA_VF_INFO
        for setting, value in attributes(info[1]):
            if number := self.refuse.get(setting):
                raise OSError(number, os.strerror(number))
            named = table(value)[wire.IFLA_VF_VLAN_INFO] if setting == wire.IFLA_VF_VLAN_LIST else value
            self.functions[struct.unpack_from("=I", named)[0]][setting] = value
            self.set.append(setting)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """pf0 with vf0 and vf1; other0 is hardware of its own."""
    pci, net = tmp_path / "devices", tmp_path / "class/net"
    net.mkdir(parents=True)
    for name, address in (("pf0", "0000:03:00.0"), ("vf0", "0000:03:10.0"), ("vf1", "0000:03:10.1"), ("other0", "5")):
        device = pci / address / "net" / name
        device.mkdir(parents=True)
        (device / "device").symlink_to(pci / address)
        (device / "dev_port").write_text("0\n")
        (net / name).symlink_to(device)
    for n in (0, 1):
        (pci / f"0000:03:00.0/virtfn{n}").symlink_to(pci / f"0000:03:10.{n}")
        (pci / f"0000:03:10.{n}/physfn").symlink_to(pci / "0000:03:00.0")
    monkeypatch.setattr(links, "index_of", lambda _, name: PF if name == "pf0" else 0)
    sysfs = os.open(tmp_path, os.O_PATH)
    yield Kernel(sysfs)
    os.close(sysfs)


def place(kernel: Any, was: Captured) -> RestoreContext:
    return RestoreContext(kernel, 5, "vf1", was)


def captured(kernel: Any) -> Captured:
    return Captured(index=5, name="vf1", complete=True, vf_settings=virtual_functions.read(kernel, "vf1"))


@pytest.mark.parametrize("name", ["pf0", "other0", "gone0"])
def test_what_is_no_virtual_function(kernel: Any, name: str) -> None:
    assert virtual_functions.read(kernel, name) == b""


def test_one_functions_settings(kernel: Any) -> None:
    """Its own, without counters, and each once: rates and VLANs have an older form too."""
    found = table(virtual_functions.read(kernel, "vf1"))
    assert set(found) == {wire.IFLA_VF_MAC, wire.IFLA_VF_VLAN_LIST, wire.IFLA_VF_RATE, 4, wire.IFLA_VF_TRUST, 99}
    assert found[wire.IFLA_VF_MAC] == kernel.functions[1][wire.IFLA_VF_MAC]


def test_what_differs_is_put_back(kernel: Any) -> None:
    """Through the physical function, and nothing else is written."""
    was = captured(kernel)
    before = dict(kernel.functions[1])
    kernel.functions[1][wire.IFLA_VF_SPOOFCHK] = struct.pack("=II", 1, 0)
    kernel.functions[1][wire.IFLA_VF_RATE] = struct.pack("=III", 1, 10, 20)
    vlan = struct.pack("=IIIHxx", 1, 44, 0, 0x81)
    kernel.functions[1][wire.IFLA_VF_VLAN_LIST] = attribute(wire.IFLA_VF_VLAN_INFO, vlan)
    virtual_functions.restore(place(kernel, was), None)  # type: ignore[arg-type]
    assert kernel.functions[1] == before
    assert sorted(kernel.set) == [wire.IFLA_VF_SPOOFCHK, wire.IFLA_VF_RATE, wire.IFLA_VF_VLAN_LIST]


def test_nothing_differs(kernel: Any) -> None:
    virtual_functions.restore(place(kernel, captured(kernel)), None)  # type: ignore[arg-type]
    assert kernel.set == []


def test_what_the_kernel_refuses_is_named(kernel: Any) -> None:
    """The others are put back all the same."""
    was = captured(kernel)
    kernel.refuse[wire.IFLA_VF_MAC] = errno.EPERM
    kernel.functions[1][wire.IFLA_VF_MAC] = struct.pack("=I32s", 1, bytes(6))
    kernel.functions[1][99] = struct.pack("=II", 1, 6)
    at = place(kernel, was)
    virtual_functions.restore(at, None)  # type: ignore[arg-type]
    what = "virtual function's MAC (set by the physical function)"
    assert at.refusals == {what: "Operation not permitted"}
    assert differences(was, captured(kernel)) == [what]


def test_the_physical_function_is_gone(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another namespace, say: nothing can be put back, and every setting is named."""
    was = captured(kernel)
    monkeypatch.setattr(links, "index_of", lambda _, name: 0)
    virtual_functions.restore(place(kernel, was), None)  # type: ignore[arg-type]
    said = differences(was, captured(kernel))
    assert "virtual function's spoof checking (set by the physical function)" in said
    assert len(said) == 6
