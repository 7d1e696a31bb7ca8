"""Which network configuration is in force."""

import json
import os
from pathlib import Path

import pytest

from crishim.cni.directory import ConfigDirectory
from crishim.errors import CrishimError, Kind


def write(path: Path, name: str, age: int = 0) -> None:
    """A configuration whose network has this name, `age` seconds old."""
    path.write_text(json.dumps({"cniVersion": "1.0.0", "name": name, "type": "bridge"}))
    os.utime(path, (2_000_000_000 - age,) * 2)


def test_newest_and_first(tmp_path: Path) -> None:
    """The newest file, or the first by name."""
    write(tmp_path / "10-old.conf", "old", age=100)
    write(tmp_path / "20-new.conflist", "new")
    write(tmp_path / "30-older.json", "older", age=200)
    assert ConfigDirectory(tmp_path, "newest").current().name == "new"
    assert ConfigDirectory(tmp_path, "first").current().name == "old"


@pytest.mark.parametrize("name", ["readme.txt", ".hidden.conf", "x.conf.bak", "conf"])
def test_what_does_not_count(tmp_path: Path, name: str) -> None:
    """Other suffixes and hidden files."""
    write(tmp_path / name, "x")
    with pytest.raises(CrishimError, match="no CNI configuration in") as caught:
        ConfigDirectory(tmp_path, "newest").current()
    assert caught.value.kind is Kind.UNAVAILABLE


def test_changes_are_seen(tmp_path: Path) -> None:
    """A file that comes, changes, or goes."""
    directory = ConfigDirectory(tmp_path / "net.d", "newest")
    for _ in range(2):
        with pytest.raises(CrishimError, match="no CNI configuration"):
            directory.current()
    (tmp_path / "net.d").mkdir()
    write(tmp_path / "net.d/a.conf", "first", age=9)
    assert directory.current().name == "first"
    write(tmp_path / "net.d/a.conf", "other", age=8)
    assert directory.current().name == "other"
    (tmp_path / "net.d/a.conf").unlink()
    with pytest.raises(CrishimError):
        directory.current()


def test_it_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the directory stays as it is."""
    write(tmp_path / "a.conf", "n")
    directory = ConfigDirectory(tmp_path, "newest")
    first = directory.current()
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("read again"))
    assert directory.current() is first


def test_broken_ones_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A broken, dangling, too large or unreadable file: the next is taken, and the log says why, once."""
    write(tmp_path / "ok.conf", "ok", age=1000)
    (tmp_path / "broken.conf").write_text("{")
    (tmp_path / "dangling.conf").symlink_to("/no/such/file")
    (tmp_path / "directory.conf").mkdir()
    (tmp_path / "large.conf").write_bytes(b" " * ((1 << 20) + 1))
    directory = ConfigDirectory(tmp_path, "first")
    for _ in range(2):
        assert directory.current().name == "ok"
    passed = [getattr(r, "path", "") for r in caplog.records if "passed over" in r.message]
    assert sorted(Path(p).name for p in passed) == ["broken.conf", "dangling.conf", "directory.conf", "large.conf"]
    (tmp_path / "ok.conf").unlink()
    with pytest.raises(CrishimError, match=r"not ready: CNI configuration .*broken\.conf: not JSON"):
        directory.current()


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    """A file in its place is said to be."""
    (tmp_path / "net.d").write_text("")
    with pytest.raises(CrishimError, match=r"net\.d cannot be read: Not a directory") as caught:
        ConfigDirectory(tmp_path / "net.d", "newest").current()
    assert caught.value.kind is Kind.UNAVAILABLE
