"""Files that are replaced as a whole, and the way out of a full disk."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from crishim.linux import files


def full(monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOSPC) -> None:
    """From now on nothing can be written beside a file."""

    def refuse(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", refuse)


def test_replace(tmp_path: Path) -> None:
    """New and old files get the content; nothing is left beside them."""
    path = tmp_path / "x.json"
    for data in (b"one", b"a longer second", b""):
        files.replace(path, data)
        assert path.read_bytes() == data
    assert os.listdir(tmp_path) == ["x.json"]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is there is overwritten in its blocks, shorter content padded with spaces; a new one is refused."""
    path = tmp_path / "x.json"
    path.write_bytes(b'{"state": "running"}')
    inode = path.stat().st_ino
    full(monkeypatch)
    files.replace(path, b'{"state": "x"}')
    assert path.read_bytes() == b'{"state": "x"}      '
    assert path.stat().st_ino == inode
    files.replace(path, b'{"state": "exited", "code": 137}')
    assert path.read_bytes() == b'{"state": "exited", "code": 137}'
    with pytest.raises(OSError, match="No space"):
        files.replace(tmp_path / "new.json", b"{}")
    with pytest.raises(OSError, match="No space"):
        files.replace(path, b"x" * (1 << 20))
    assert path.read_bytes() == b'{"state": "exited", "code": 137}'
    assert os.listdir(tmp_path) == ["x.json"]


def test_other_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no lack of space is raised, and the file is as it was."""
    path = tmp_path / "x.json"
    path.write_bytes(b"old")
    full(monkeypatch, errno.EROFS)
    with pytest.raises(OSError, match="Read-only"):
        files.replace(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_rename_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file beside is removed."""

    def refuse(*_: Any) -> None:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="I/O error"):
        files.replace(tmp_path / "x.json", b"new")
    assert os.listdir(tmp_path) == []


def test_read_regular_waits_for_no_writer_and_reads_no_more_than_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "profile"
    path.write_bytes(b"x" * 100)
    assert files.read_regular(path, 100) == b"x" * 100
    with pytest.raises(OSError, match="larger than 99 bytes"):
        files.read_regular(path, 99)
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "."):
        with pytest.raises(OSError, match="regular"):
            files.read_regular(tmp_path / name, 100)
    with pytest.raises(FileNotFoundError):
        files.read_regular(tmp_path / "absent", 100)
