"""Devices by name from directories: priority, conflicts, rewriting, broken files."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from crishim.cdi.edits import Registry
from crishim.errors import CrishimError, Kind


def write(path: Path, *devices: str, kind: str = "vendor.com/nic", version: str = "1.1.0", **edits: Any) -> None:
    made = [{"name": d, "containerEdits": {"env": [f"{d}={path.parent.name}"]} | edits} for d in devices]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"cdiVersion": version, "kind": kind, "devices": made}))


def failure(registry: Registry, *names: str) -> CrishimError:
    with pytest.raises(CrishimError) as caught:
        registry.resolve(names)
    return caught.value


def test_a_later_directory_wins(tmp_path: Path) -> None:
    """The device of the later directory replaces that of the earlier one, and only that device."""
    write(tmp_path / "etc/nic.json", "a", "b")
    write(tmp_path / "run/nic.json", "a")
    registry = Registry([tmp_path / "etc", tmp_path / "run"])
    assert registry.resolve(["vendor.com/nic=a", "vendor.com/nic=b"]).env == ("a=run", "b=etc")


def test_a_conflict_in_one_directory_names_both_files(tmp_path: Path) -> None:
    """Two files of equal priority that define one device make it unusable; others of theirs are not."""
    write(tmp_path / "etc/one.json", "a")
    write(tmp_path / "etc/two.json", "a", "b")
    registry = Registry([tmp_path / "etc"])
    error = failure(registry, "vendor.com/nic=a")
    assert error.kind is Kind.PRECONDITION
    assert "one.json" in str(error)
    assert "two.json" in str(error)
    assert registry.resolve(["vendor.com/nic=b"]).env == ("b=etc",)


def test_a_higher_directory_settles_a_conflict_below(tmp_path: Path) -> None:
    """A conflict does not matter where a directory of higher priority defines the device."""
    write(tmp_path / "etc/one.json", "a")
    write(tmp_path / "etc/two.json", "a")
    write(tmp_path / "run/x.json", "a")
    assert Registry([tmp_path / "etc", tmp_path / "run"]).resolve(["vendor.com/nic=a"]).env == ("a=run",)


def test_a_rewrite_is_honoured_at_once(tmp_path: Path) -> None:
    """A file rewritten in place, within one tick and with the same size, is read anew; so is a replaced one."""
    path = tmp_path / "etc/nic.json"
    write(path, "a", version="1.1.0")
    registry = Registry([tmp_path / "etc"])
    for value in range(9):
        path.write_text(path.read_text().replace("a=etc" if value == 0 else f"a=et{value - 1}", f"a=et{value}"))
        assert registry.resolve(["vendor.com/nic=a"]).env == (f"a=et{value}",)
    path.unlink()
    assert failure(registry, "vendor.com/nic=a").kind is Kind.NOT_FOUND


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    """A file that has settled comes from memory: the same parsed object."""
    import os

    path = tmp_path / "etc/nic.json"
    write(path, "a")
    os.utime(path, (1, 1))
    registry = Registry([tmp_path / "etc"])
    registry.resolve(["vendor.com/nic=a"])
    stored = registry._files[path]
    registry._files[path] = stored._replace(settled=True)  # its ctime is now: pretend it is old
    registry.resolve(["vendor.com/nic=a"])
    assert registry._files[path].spec is stored.spec


def test_a_broken_file_of_another_vendor_is_skipped_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is no JSON does not disturb the others, and is warned of once, not at each create."""
    write(tmp_path / "etc/nic.json", "a")
    (tmp_path / "etc/other.json").write_text("{")
    registry = Registry([tmp_path / "etc"])
    with caplog.at_level(logging.WARNING, "crishim.cdi"):
        registry.resolve(["vendor.com/nic=a"])
        registry.resolve(["vendor.com/nic=a"])
    assert [record.__dict__["path"] for record in caplog.records] == [str(tmp_path / "etc/other.json")]


def test_net_devices_below_1_1_name_file_and_version(tmp_path: Path) -> None:
    """netDevices under cdiVersion 1.0.0 invalidate the file: the error names file and version."""
    write(tmp_path / "etc/old.json", "a", version="1.0.0", netDevices=[{"hostInterfaceName": "x", "name": "y"}])
    error = failure(Registry([tmp_path / "etc"]), "vendor.com/nic=a")
    assert error.kind is Kind.PRECONDITION
    assert "old.json" in str(error)
    assert "1.0.0" in str(error)
    assert "1.1.0" in str(error)


def test_an_unknown_device_names_the_directories(tmp_path: Path) -> None:
    """An unresolvable name is an error that names it, where it was looked for, and a file that could not be read."""
    write(tmp_path / "etc/nic.json", "a")
    (tmp_path / "etc/torn.yaml").write_text("a: [")
    error = failure(Registry([tmp_path / "etc", tmp_path / "none"]), "vendor.com/nic=a", "vendor.com/nic=b")
    assert error.kind is Kind.NOT_FOUND
    for part in ("vendor.com/nic=b", str(tmp_path / "etc"), "torn.yaml"):
        assert part in str(error)


def test_yaml_and_the_files_own_edits(tmp_path: Path) -> None:
    """A YAML file works as a JSON one; its own edits come once, before those of its devices."""
    text = """
cdiVersion: "1.1.0"
kind: vendor.com/nic
containerEdits: {env: [ALL=1]}
devices:
  - name: a
    containerEdits: {netDevices: [{hostInterfaceName: demo0, name: net1}]}
  - name: b
    containerEdits: {env: [B=1]}
"""
    (tmp_path / "x.yaml").write_text(text)
    (tmp_path / "x.yml").write_text(text)  # not a CDI file's ending
    edits = Registry([tmp_path]).resolve(["vendor.com/nic=b", "vendor.com/nic=a"])
    assert edits.env == ("ALL=1", "B=1")
    assert edits.net_devices == (("demo0", "net1", "vendor.com/nic=a"),)


def test_directories_and_unreadable_entries_are_no_matter(tmp_path: Path) -> None:
    """A directory called x.json, a dangling link and a missing directory are passed over."""
    (tmp_path / "x.json").mkdir()
    (tmp_path / "y.json").symlink_to(tmp_path / "gone")
    write(tmp_path / "nic.json", "a")
    assert Registry([tmp_path / "none", tmp_path]).resolve(["vendor.com/nic=a"]).env
