"""Directories of records: whatever lies there, what is readable is read, and nothing is touched or followed."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from crishim.ids import is_id
from crishim.linux import record_files
from crishim.linux.record_files import Found, load
from crishim.model import NamespacePaths, Network, PodRecord

A, B = "a" * 64, "b" * 64


def fields(id: str = A, **changes: Any) -> dict[str, Any]:
    return {"schema": 1, "id": id, "state": "ready", "config": "", "handler": "", "created_at": 5} | changes


def read(directory: Path, **options: Any) -> Found[PodRecord]:
    return load(directory, PodRecord, is_id, lambda record: None, **options)


def put(directory: Path, content: Any, id: str = A) -> Path:
    path = directory / f"{id}.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\0" * 4096, "is damaged: JSON is malformed"),
        (b"  \n", "is empty"),
        (json.dumps(fields()).encode()[:100], "is damaged: Input data was truncated"),
        (b"\xff\xfe{}", "is damaged: JSON is malformed"),
        (b'{"x": ' * 3000, "is damaged: maximum recursion depth"),
        (b"null", "is damaged: Expected `object`, got `null`"),
        (b"[]", "is damaged: Expected `object`, got `array`"),
        (fields(schema=2, added={"x": 1}, state="hibernating"), "has schema 2, this version reads up to 1"),
        (fields(schema=2**70), "has schema 1180591620717411303424, this version reads up to 1"),
        (fields(schema="1"), "is damaged: Expected `int`"),
        (fields(schema=0), "is damaged: Invalid value 0 - at `$.schema`"),
        (fields(state="hibernating"), "is damaged: Invalid enum value 'hibernating'"),
        (fields(created_at="soon"), "is damaged: Expected `int`, got `str`"),
        (fields(init={"pid": 0, "start_time": 1}), "is damaged: Expected `int` >= 1 - at `$.init.pid`"),
        ({"schema": 1, "id": A}, "is damaged: Object missing required field `state`"),
        (fields(B), f"is called {A}.json and is of '{B}'"),
        (fields("../../etc/passwd"), f"is called {A}.json and is of '../../etc/passwd'"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, content: Any, reason: str) -> None:
    """Each for its reason, with the others unharmed and the file as it was."""
    path = put(tmp_path, content)
    put(tmp_path, fields(B), B)
    before = path.read_bytes()
    found = read(tmp_path)
    assert list(found.read) == [B]
    assert found.unread[A].reason.startswith(reason)
    assert path.read_bytes() == before


def test_no_regular_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link is not followed, a FIFO not waited for, and what is too large or refused is not read."""
    good = put(tmp_path, fields())
    elsewhere = tmp_path / "elsewhere"
    good.rename(elsewhere)
    good.symlink_to(elsewhere)
    assert read(tmp_path).unread[A].reason == "is a symbolic link"
    good.unlink()
    good.symlink_to(good)
    assert read(tmp_path).unread[A].reason == "is a symbolic link"
    good.unlink()
    os.mkfifo(good)
    assert read(tmp_path).unread[A].reason == "is no regular file"
    record_files.remove(good)
    good.mkdir()
    (good / "x").touch()
    assert read(tmp_path).unread[A].reason == "is no regular file"
    record_files.remove(good)
    assert not good.exists()
    with good.open("wb") as file:
        file.truncate(1 << 40)
    assert read(tmp_path).unread[A].reason == f"has {1 << 40} bytes, more than {record_files.LIMIT}"
    good.write_bytes(elsewhere.read_bytes())

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        assert read(tmp_path).unread[A].reason == "cannot be read: Permission denied"
    assert list(read(tmp_path).read) == [A]


def test_junk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of files that are no records cost one line in the log, and stay."""
    put(tmp_path, fields())
    for number in range(2000):
        (tmp_path / f"junk{number}.json").touch()
    for name in (f"{A}.json.broken", "x.tmp", f"{A[:-1]}.json", f"{B}.JSON", ".json"):
        (tmp_path / name).touch()
    (tmp_path / f"{B}.tmp").mkdir()
    before = set(tmp_path.iterdir())
    with caplog.at_level(logging.WARNING):
        assert list(read(tmp_path).read) == [A]
    assert [r.__dict__["count"] for r in caplog.records] == [2005]
    assert set(tmp_path.iterdir()) == before


def test_killed_writes(tmp_path: Path) -> None:
    """What a write left beside its record goes, also if it is a link; unless only a look is wanted."""
    left = [tmp_path / f"{A}.tmp", tmp_path / f"{B}.tmp"]
    (tmp_path / "target").touch()
    left[0].symlink_to(tmp_path / "target")
    left[1].write_text("{")
    read(tmp_path, tidy=False)
    assert all(os.path.lexists(path) for path in left)
    read(tmp_path)
    assert not any(os.path.lexists(path) for path in left)
    assert (tmp_path / "target").exists()


def test_what_can_be_had_of_a_newer_record(tmp_path: Path) -> None:
    """Fields of the types they have here, parts of structures and lists that fit; of another pod's record nothing."""
    network = {"name": "n", "conflist": "e30=", "capability_args": "e30=", "ips": ["10.0.0.1", 7], "new": 1}
    newer = fields(
        schema=2,
        state="hibernating",
        config="aGVsbG8=",
        handler=["a", "list"],
        network=network,
        namespaces={"net": "/run/net", "time": "/run/time"},
        init={"start_time": 3},
    )
    put(tmp_path, newer)
    salvaged = read(tmp_path).unread[A].salvaged
    assert salvaged == {
        "id": A,
        "config": b"hello",
        "created_at": 5,
        "network": Network(name="n", conflist=b"{}", capability_args=b"{}", ips=("10.0.0.1",)),
        "namespaces": NamespacePaths(net="/run/net"),
    }
    put(tmp_path, newer | {"id": B})
    assert read(tmp_path).unread[A].salvaged == {}


def test_the_directory_itself(tmp_path: Path) -> None:
    """One that cannot be listed is an error: nobody may think that there are no records."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        read(tmp_path / "file")


def test_what_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record, a directory of its name, or nothing; a file that cannot be removed is that error."""
    record_files.remove(put(tmp_path, b"{}"))
    (tmp_path / "x.json/below").mkdir(parents=True)
    record_files.remove(tmp_path / "x.json")
    record_files.remove(tmp_path / "x.json")
    assert list(tmp_path.iterdir()) == []
    kept = put(tmp_path, b"{}")

    def refuse(path: Path, *, missing_ok: bool) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(PermissionError, match="not permitted"):
        record_files.remove(kept)
