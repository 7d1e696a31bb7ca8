"""Work in several network namespaces at once: one throw-away thread, one rtnetlink socket for each namespace.

The thread joins each namespace in turn to make the socket there, and can then use all of them. It ends when the work is
done and is not pooled: it is no longer in the process's namespace.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from crishim.linux import libc, namespaces, sysfs
from crishim.linux.netlink.genetlink import Genetlink
from crishim.linux.netlink.rtnetlink import Rtnetlink
from crishim.linux.sysfs import Kept

T = TypeVar("T")


class Netns:
    """One open network namespace: a descriptor of it and a netlink socket in it."""

    def __init__(self, path: str | Path, kept: Kept | None = None) -> None:
        """path: a handle of the namespace (a bind mount or /proc/.../ns/net). The calling thread joins it.
        kept: holds its sysfs, also after close()."""
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.inode = os.fstat(self.fd).st_ino
            self.enter()
            self.netlink = Rtnetlink()
        except BaseException:
            os.close(self.fd)
            raise
        self._kept = kept
        self._sysfs = -1
        self._genetlink: Genetlink | None = None

    @property
    def sysfs(self) -> int:
        """A sysfs of the namespace (sysfs.py), mounted on first use. The thread's namespace does not change."""
        if self._sysfs < 0:
            self._sysfs = self._mount() if self._kept is None else self._kept.get(self._mount)
        return self._sysfs

    def _mount(self) -> int:
        with self._inside():
            return sysfs.mount()

    @property
    def genetlink(self) -> Genetlink:
        """A generic netlink socket in the namespace, made on first use. The thread's namespace does not change."""
        if self._genetlink is None:
            with self._inside():
                self._genetlink = Genetlink()
        return self._genetlink

    @contextlib.contextmanager
    def _inside(self) -> Iterator[None]:
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.enter()
            yield
        finally:
            libc.setns(before, namespaces.CLONE_NEWNET)
            os.close(before)

    def enter(self) -> None:
        """Join the namespace, for what depends on the thread's and not the socket's (files below /proc/sys/net)."""
        libc.setns(self.fd, namespaces.CLONE_NEWNET)

    def close(self) -> None:
        self.netlink.__exit__()
        if self._genetlink is not None:
            self._genetlink.__exit__()
        if self._sysfs >= 0 and self._kept is None:
            os.close(self._sysfs)
        os.close(self.fd)


def in_namespaces(paths: tuple[str | Path, ...], work: Callable[..., T], kept: Kept | None = None) -> T:
    """Run work(Netns, ...), one for each path, in the calling thread, which must end afterwards.

    kept: the sysfs of the first. Raises OSError if a handle cannot be opened or is not a network namespace (EINVAL).
    """
    with contextlib.ExitStack() as stack:
        opened: list[Netns] = []
        for path in paths:
            opened.append(Netns(path, None if opened else kept))
            stack.callback(opened[-1].close)
        return work(*opened)


def in_namespaces_thread(paths: tuple[str | Path, ...], work: Callable[..., T]) -> T:
    """in_namespaces() in a new thread; waits, and returns its result or raises its exception."""
    return namespaces.in_thread(lambda: in_namespaces(paths, work))
