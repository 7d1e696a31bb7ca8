"""Virtual functions and upper links, in a tree laid out as sysfs has it: no machine of the tests has the hardware."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from crishim.linux.device_tree import Function, functions, uppers


@pytest.fixture
def sysfs(tmp_path: Path) -> Iterator[int]:
    """pf0 with three functions: one on the host, one with vfio-pci, one without a driver; and two links on top."""
    pci, net = tmp_path / "devices/pci0000:00", tmp_path / "class/net"
    drivers = tmp_path / "bus/pci/drivers"
    for directory in (net, drivers / "iavf", drivers / "vfio-pci", pci / "0000:03:00.0/net/pf0"):
        directory.mkdir(parents=True)
    physical = pci / "0000:03:00.0"
    (physical / "net/pf0/device").symlink_to(physical)
    for i, driver in enumerate(("iavf", "vfio-pci", "")):
        function = pci / f"0000:03:10.{i}"
        function.mkdir()
        (physical / f"virtfn{i}").symlink_to(function)
        if driver:
            (function / "driver").symlink_to(drivers / driver)
    (pci / "0000:03:10.0/net/vf0").mkdir(parents=True)
    (net / "pf0").symlink_to(physical / "net/pf0")
    for name in ("vlan5", "macvlan0"):
        (physical / f"net/pf0/upper_{name}").symlink_to(net)
    handle = os.open(tmp_path, os.O_PATH)
    yield handle
    os.close(handle)


def test_functions(sysfs: int) -> None:
    """Address, driver, and network devices that can be seen."""
    assert functions(sysfs, "pf0") == [
        Function("0000:03:10.0", "iavf", ("vf0",)),
        Function("0000:03:10.1", "vfio-pci", ()),
        Function("0000:03:10.2", "", ()),
    ]


def test_uppers(sysfs: int) -> None:
    assert sorted(uppers(sysfs, "pf0")) == ["macvlan0", "vlan5"]


def test_a_device_that_is_gone(sysfs: int) -> None:
    """Nothing hangs on it."""
    assert functions(sysfs, "gone0") == []
    assert uppers(sysfs, "gone0") == []
