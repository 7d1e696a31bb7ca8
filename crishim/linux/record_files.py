"""Directories of records: one file each, DIRECTORY/ID.json, checked before it is read.

Other files there (after a power cut, by another version, by hand) are ignored and left. A record that cannot be read is
left unchanged too, so that the version that wrote it can read it again.
"""

import contextlib
import errno
import logging
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from crishim import records
from crishim.linux import files
from crishim.records import UnreadableError

R = TypeVar("R", bound=msgspec.Struct)
COPY = "record.json"  # in the directory of a pod or container: its first record, in case the present one is lost
LIMIT = 32 << 20  # bytes: a CRI message of 16 MiB, which is the most gRPC takes, in base64, and the rest

log = logging.getLogger("crishim.records")


class Unread(NamedTuple):
    """A record that exists and cannot be read."""

    id: str
    path: Path
    reason: str  # the end of "its record ..."
    salvaged: dict[str, Any]  # the fields that can be read


class Found(NamedTuple, Generic[R]):
    """A directory's records by id."""

    read: dict[str, R]
    unread: dict[str, Unread]


def load(
    directory: Path, kind: type[R], is_id: Callable[[str], bool], check: Callable[[R], object], *, tidy: bool = True
) -> Found[R]:
    """Read all records of a directory. check: raises on one that cannot be used although it is well-formed.

    tidy: remove files of interrupted writes (ID.tmp). OSError if the directory itself cannot be read.
    """
    found: Found[R] = Found({}, {})
    strange = []
    for path in sorted(directory.iterdir()):
        name = path.name
        id = name.partition(".")[0]
        if is_id(id) and name == f"{id}.tmp":
            if tidy:
                with contextlib.suppress(IsADirectoryError, PermissionError):
                    path.unlink()
        elif not is_id(id) or name != f"{id}.json":
            strange.append(name)
        else:
            _load(path, id, kind, check, found)
    if strange:
        log.warning(
            "what lies among the records is none of them, and stays",
            extra={"path": str(directory), "count": len(strange), "first": strange[0]},
        )
    return found


def _load(path: Path, id: str, kind: type[R], check: Callable[[R], object], found: Found[R]) -> None:
    data = b""
    try:
        data = read(path)
        record = records.decode(data, kind)
        if (inside := getattr(record, "id", None)) != id:
            data = b""
            raise UnreadableError(f"is called {path.name} and is of {inside!r:.80}")
        try:
            check(record)
        except Exception as error:  # of any type: a damaged value makes the record unusable
            raise UnreadableError(f"is damaged: {error}") from error
    except UnreadableError as error:
        log.error(f"a record {error}: it stays as it is", extra={"path": str(path)})
        salvaged = records.salvage(data, kind)
        found.unread[id] = Unread(id, path, str(error), salvaged if salvaged.get("id", id) == id else {})
    else:
        found.read[id] = record


def read(path: Path, limit: int = LIMIT) -> bytes:
    """The content of a record file. UnreadableError if it is no regular file, exceeds limit, or cannot be read."""
    try:
        with contextlib.ExitStack() as stack:
            found = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            stack.callback(os.close, found)
            status = os.fstat(found)
            if not stat.S_ISREG(status.st_mode):
                link = stat.S_ISLNK(status.st_mode)
                raise UnreadableError("is a symbolic link" if link else "is no regular file")
            if status.st_size > limit:
                raise UnreadableError(f"has {status.st_size} bytes, more than {limit}")
            fd = files.reopen_regular(found, str(path))
            stack.callback(os.close, fd)
            return files.read_bounded(fd, str(path), limit)
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from error


def write(path: Path, record: msgspec.Struct) -> None:
    """Write or replace a record. OSError; EFBIG for one larger than LIMIT."""
    data = records.encode(record)
    if len(data) > LIMIT:
        raise OSError(errno.EFBIG, f"{len(data)} bytes are more than {LIMIT}")
    files.replace(path, data)


def remove(path: Path) -> None:
    """Remove a record, also if there is a directory of that name, or nothing."""
    try:
        path.unlink(missing_ok=True)
    except (IsADirectoryError, PermissionError):  # unlink(2) of a directory: EISDIR on Linux, EPERM in POSIX
        if path.is_symlink() or not path.is_dir():
            raise
        shutil.rmtree(path)
