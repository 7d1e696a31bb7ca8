"""Files below a device's directory in sysfs that root may write: queues (RPS, XPS, BQL), NAPI, a driver's. sysfs(5).

They are found by a walk, not by a list of names; the mode of each path is read once. What rtnetlink has too (MTU,
flags, alias, ...) is left out.
"""

import contextlib
import os
import re
import stat
from collections.abc import Iterable

_LEFT = frozenset({"uevent", "flags", "mtu", "ifalias", "netdev_group", "proto_down", "tx_queue_len", "carrier"})
_LEFT |= {"statistics", "brport", "bonding_slave"}
_STATE = frozenset({"queues/tx-#/byte_queue_limits/limit", "queues/tx-#/byte_queue_limits/stall_max"})  # measured
_LIMIT = 4096  # bytes: an attribute has a page at most
_MOST = 20000  # paths remembered
_FILE, _DIRECTORY, _NEITHER = 1, 2, 0
_OPEN_FILE = os.O_RDONLY | os.O_CLOEXEC
_OPEN_DIRECTORY = _OPEN_FILE | os.O_DIRECTORY
_known: dict[str, int] = {}  # by path: the same for every device that has it


def read(sysfs: int, name: str) -> tuple[tuple[str, str], ...]:
    """(path below the device's directory, value) of each writable file that can be read. Raises OSError, ENOENT.

    sysfs: of the device's namespace (sysfs.mount).
    """
    found: list[tuple[str, str]] = []
    top = os.open(f"class/net/{name}", _OPEN_DIRECTORY, dir_fd=sysfs)
    try:
        _walk(top, "", found)
    finally:
        os.close(top)
    return tuple(found)


def read_again(sysfs: int, name: str, paths: Iterable[str]) -> dict[str, str]:
    """The values of these paths of read(); without those that have none now. Raises OSError, ENOENT."""
    found: dict[str, str] = {}
    top = os.open(f"class/net/{name}", _OPEN_DIRECTORY, dir_fd=sysfs)
    try:
        for path in paths:
            with contextlib.suppress(OSError):  # as in read()
                found[path] = _content(top, path)
    finally:
        os.close(top)
    return found


def _walk(directory: int, path: str, found: list[tuple[str, str]]) -> None:
    names = os.listdir(directory)
    names.sort()
    for name in names:
        below = path + name
        what = _known.get(below)
        if what is None:
            what = _classify(directory, name, below)
        if not what:
            continue
        try:
            if what == _FILE:
                found.append((below, _content(directory, name)))
                continue
            inner = os.open(name, _OPEN_DIRECTORY, dir_fd=directory)
            try:
                _walk(inner, below + "/", found)
            finally:
                os.close(inner)
        except OSError:
            continue  # no value now (EINVAL while the link is down, EIO, EOPNOTSUPP), or a queue that went away


def _classify(directory: int, name: str, path: str) -> int:
    """_FILE that root may write, _DIRECTORY to walk, or _NEITHER."""
    try:
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return _NEITHER
    what = _NEITHER
    if path not in _LEFT and re.sub(r"\d+", "#", path) not in _STATE:
        if stat.S_ISDIR(mode):
            what = _DIRECTORY
        elif stat.S_ISREG(mode) and mode & 0o200:
            what = _FILE
    if len(_known) < _MOST:
        _known[path] = what
    return what


def _content(directory: int, name: str) -> str:
    file = os.open(name, _OPEN_FILE, dir_fd=directory)
    try:
        return os.read(file, _LIMIT).decode("utf-8", "surrogateescape").strip()
    finally:
        os.close(file)


def write(sysfs: int, name: str, path: str, value: str) -> None:
    """Write one file of read(). Raises OSError."""
    file = os.open(f"class/net/{name}/{path}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=sysfs)
    try:
        os.write(file, value.encode(errors="surrogateescape"))
    finally:
        os.close(file)
