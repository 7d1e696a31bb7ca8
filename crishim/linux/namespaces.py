"""Pod namespaces: made in a throw-away thread, pinned by bind mounts. namespaces(7), unshare(2).

unshare(2) acts on one thread, so a thread is enough: no fork, 0.6 ms. The thread is not pooled, since it is no longer
in the host's namespaces. A user namespace cannot be made by a thread of a multi-threaded process (EINVAL): a
short-lived child makes it, see userns.py.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from crishim.linux import libc, mounts

T = TypeVar("T")

CLONE_NEWNS, CLONE_NEWCGROUP = 0x00020000, 0x02000000
CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER = 0x04000000, 0x08000000, 0x10000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
FLAGS = {"net": CLONE_NEWNET, "ipc": CLONE_NEWIPC, "uts": CLONE_NEWUTS, "user": CLONE_NEWUSER, "pid": CLONE_NEWPID}


def in_thread(work: Callable[[], T]) -> T:
    """Run work in a new thread and wait; returns its result or raises its exception."""
    result: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            result.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=body, name="namespace", daemon=True)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


def inside(handles: Mapping[str, str | Path], work: Callable[[], T]) -> T:
    """Run work in a throw-away thread that has joined the namespaces of these handles ({"net": path, ...})."""

    def body() -> T:
        for kind, path in handles.items():
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                libc.setns(fd, FLAGS[kind])
            finally:
                os.close(fd)
        return work()

    return in_thread(body)


def make(pins: Mapping[str, Path], prepare: Callable[[], None]) -> None:
    """Make the namespaces that are the keys of pins (net, ipc, uts), run prepare() in them, and bind them to the pins.

    The pins are made as empty files in a directory that exists. On failure nothing of this call is left.
    """

    def body() -> None:
        flags = 0
        for kind in pins:
            flags |= FLAGS[kind]
        libc.unshare(flags)
        prepare()
        for kind, path in pins.items():
            pin(f"/proc/thread-self/ns/{kind}", path)

    try:
        in_thread(body)
    except BaseException:
        for path in pins.values():
            unpin(path)
        raise


def pin(handle: str, path: Path) -> None:
    """Keep a namespace alive by a bind mount of its handle on path."""
    path.touch(mode=0o600)
    mounts.bind(handle, path)


def unpin(path: Path) -> None:
    """Undo pin(). Idempotent."""
    mounts.unmount(path)
    path.unlink(missing_ok=True)


def is_pinned(path: str) -> bool:
    """Whether the path is a handle of a namespace (nsfs) and not just the file it was mounted on."""
    with contextlib.suppress(OSError):
        return Path(path).stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    return False
