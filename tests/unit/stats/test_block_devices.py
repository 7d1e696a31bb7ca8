"""Names of devices and file systems."""

import os
from pathlib import Path

import pytest

from crishim.linux import mounts
from crishim.linux.mounts import MountPoint
from crishim.stats.block_devices import BlockDevices, Filesystem, mount_source


def test_block_devices_have_the_names_sysfs_gives(tmp_path: Path) -> None:
    """A device that is not in sysfs keeps its numbers."""
    (tmp_path / "8:0").mkdir()
    (tmp_path / "8:0/uevent").write_text("MAJOR=8\nMINOR=0\nDEVNAME=sda\nDEVTYPE=disk\n")
    assert BlockDevices(tmp_path).names({(8, 0), (9, 9)}) == {(8, 0): "/dev/sda", (9, 9): "9:9"}


def test_a_directorys_file_system() -> None:
    """/proc is mounted from "proc", whatever directory below it is asked about."""
    found = BlockDevices().filesystem(Path("/proc/self"))
    assert (found.device, found.major, found.minor) == ("proc", 0, os.minor(os.stat("/proc").st_dev))


def test_a_directory_that_does_not_exist_yet(tmp_path: Path) -> None:
    """Zeros, rather than an error for the whole list."""
    assert BlockDevices().filesystem(tmp_path / "none") == Filesystem("")


def test_of_mounts_on_one_path_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """It hides those below it."""
    table = [
        MountPoint(target, "ext4", source, frozenset(), ()) for target, source in (("/", "a"), ("/x", "b"), ("/x", "c"))
    ]
    monkeypatch.setattr(mounts, "table", lambda: table)
    assert [mount_source(Path(path)) for path in ("/x/y", "/xy")] == ["c", "a"]
