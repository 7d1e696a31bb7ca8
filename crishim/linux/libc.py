"""The few system calls Python 3.11 does not wrap, through the C library, with errno turned into OSError.

Numbers above 423 are the same on every architecture (the kernel unified them in 5.1).
"""

import contextlib
import ctypes
import os
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

OPEN_TREE = 428
MOVE_MOUNT = 429
FSOPEN = 430
FSCONFIG = 431
FSMOUNT = 432
OPENAT2 = 437
MOUNT_SETATTR = 442


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def syscall(number: int, *args: Any, what: str) -> int:
    """A raw system call; `what` names its object in the OSError. Integers are passed as C long."""
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    return _checked(int(_libc.syscall(ctypes.c_long(number), *converted)), what)


def unshare(flags: int) -> None:
    """unshare(2): acts on the calling thread only."""
    _checked(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, kind: int) -> None:
    """setns(2): moves the calling thread into the namespace of `fd`; kind is a CLONE_NEW* flag or 0."""
    _checked(_libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)), "setns")


def sethostname(name: bytes) -> None:
    """sethostname(2) in the calling thread's UTS namespace."""
    _checked(_libc.sethostname(name, ctypes.c_size_t(len(name))), "sethostname")


def mount(source: str, target: str, fstype: str, flags: int, data: str) -> None:
    """mount(2). Empty strings are passed as NULL."""

    def arg(text: str) -> bytes | None:
        return os.fsencode(text) if text else None

    _checked(_libc.mount(arg(source), arg(target), arg(fstype), ctypes.c_ulong(flags), arg(data)), target)


def umount2(target: str, flags: int) -> None:
    """umount2(2)."""
    _checked(_libc.umount2(os.fsencode(target), ctypes.c_int(flags)), target)


def fstatfs_type(fd: int) -> int:
    """f_type of fstatfs(2): the magic number of the file system, its structure's first word."""
    found = (ctypes.c_ulong * 64)()  # struct statfs has 120 bytes
    _checked(_libc.fstatfs(ctypes.c_int(fd), ctypes.byref(found)), "fstatfs")
    return int(found[0])


def trim() -> None:
    """malloc_trim(3): return free memory to the kernel, also from inside the heap. Does nothing without glibc."""
    with contextlib.suppress(AttributeError):
        _libc.malloc_trim(0)
