"""Paths inside an untrusted tree (an image's root): openat2(2) with RESOLVE_IN_ROOT.

The kernel resolves every symlink and ".." as if the tree were "/", so that none leads to the host's files.
"""

import ctypes
import errno
import os
import stat
from pathlib import Path

from crishim.errors import CrishimError, Kind
from crishim.linux import files, libc

RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS = 0x01, 0x02, 0x04
RESOLVE_BENEATH, RESOLVE_IN_ROOT = 0x08, 0x10

MAX_LENGTH = 4095  # bytes of a path, limits.h (PATH_MAX includes the NUL)
_ATTEMPTS = 16  # EAGAIN: a rename or mount happened while ".." was being resolved (openat2(2))


class _OpenHow(ctypes.Structure):
    """struct open_how, openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def check_length(path: str) -> None:
    """INVALID for a path that is too long for the kernel."""
    size = len(os.fsencode(path))
    if size > MAX_LENGTH:
        raise CrishimError(Kind.INVALID, f"the path {path[:60]}... has {size} bytes, at most {MAX_LENGTH} are possible")


def open_in_root(root: str | Path, path: str, flags: int) -> int:
    """Open path inside the tree at root; the caller closes the descriptor. OSError as of open(2)."""
    return _open(root, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)


def open_beneath(root: str | Path, path: str, flags: int) -> int:
    """As open_in_root(), through no symbolic link: ELOOP; and EXDEV for a path that leads out of the tree."""
    return _open(root, path, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)


def _open(root: str | Path, path: str, flags: int, resolve: int) -> int:
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    tree = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for attempt in range(_ATTEMPTS):
            try:
                return libc.syscall(
                    libc.OPENAT2,
                    tree,
                    ctypes.c_char_p(os.fsencode(path)),
                    ctypes.byref(how),
                    ctypes.sizeof(how),
                    what=path,
                )
            except OSError as error:
                if error.errno != errno.EAGAIN or attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")
    finally:
        os.close(tree)


def read_in_root(root: str | Path, path: str, limit: int) -> bytes:
    """A regular file inside the tree at root. OSError: ENOENT; EINVAL for anything but a regular file; EFBIG.

    A FIFO or a device in the image is not opened (files.read_regular).
    """
    found = open_in_root(root, path, os.O_PATH)
    try:
        fd = files.reopen_regular(found, path)
    finally:
        os.close(found)
    try:
        return files.read_bounded(fd, path, limit)
    finally:
        os.close(fd)


def link_in_root(root: str | Path, path: str) -> str | None:
    """The target of the symbolic link at a path inside the tree; None if it is no symbolic link, or missing."""
    try:
        fd = open_in_root(root, path, os.O_PATH | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
            return None
        raise
    try:
        return os.readlink("", dir_fd=fd) if stat.S_ISLNK(os.fstat(fd).st_mode) else None
    finally:
        os.close(fd)


def directory_in_root(root: str | Path, path: str) -> str:
    """The host path of a directory inside the tree at root, symlinks resolved. OSError: ENOENT, ENOTDIR, ELOOP."""
    fd = open_in_root(root, path, os.O_PATH | os.O_DIRECTORY)
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    finally:
        os.close(fd)
