"""Mounts: bind, overlay, idmapped clones, the table. mount(2), mount_setattr(2), proc_pid_mountinfo(5).

Nothing here follows a path a container controls: targets are ours, below the run directory.
"""

import ctypes
import errno
import os
import re
from pathlib import Path
from typing import NamedTuple

from crishim.linux import libc, proc_files

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_NOSYMFOLLOW = 1, 2, 4, 8, 32, 256
MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE, MS_SHARED = 4096, 16384, 1 << 18, 1 << 19, 1 << 20
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8

TMPFS_MAGIC = 0x01021994
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 4
MOUNT_ATTR_RDONLY, MOUNT_ATTR_IDMAP = 0x1, 0x100000


class _MountAttr(ctypes.Structure):
    """struct mount_attr, mount_setattr(2)."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class MountPoint(NamedTuple):
    """One line of mountinfo."""

    target: str
    fstype: str
    source: str
    options: frozenset[str]
    optional: tuple[str, ...]  # shared:N, master:N: the propagation
    root: str = "/"  # what of the file system is mounted


def bind(source: str | Path, target: str | Path, *, recursive: bool = False) -> None:
    """Bind-mount source on an existing target, and make it private."""
    libc.mount(str(source), str(target), "", MS_BIND | (MS_REC if recursive else 0), "")
    libc.mount("", str(target), "", MS_PRIVATE | (MS_REC if recursive else 0), "")


def mount(fstype: str, source: str, target: str | Path, *, flags: int = 0, data: str = "") -> None:
    """mount(2) of a file system. data longer than a page is refused by the kernel (ENOENT or E2BIG)."""
    libc.mount(source, str(target), fstype, flags, data)


def unmount(target: str | Path, *, lazy: bool = True) -> bool:
    """Unmount target, all mounts stacked there; False if nothing was mounted.

    lazy: detach a busy mount at once (MNT_DETACH), for mounts whose processes have ended.
    """
    done = False
    while True:
        try:
            libc.umount2(str(target), UMOUNT_NOFOLLOW | (MNT_DETACH if lazy else 0))
            done = True
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return done
            raise


def is_tmpfs(fd: int) -> bool:
    """Whether a descriptor is of a file on a tmpfs."""
    return libc.fstatfs_type(fd) == TMPFS_MAGIC


def clone_tree(source: str | Path, *, recursive: bool = False) -> int:
    """A detached copy of the mount at source, as a file descriptor (open_tree(2)); the caller closes it."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    return libc.syscall(libc.OPEN_TREE, AT_FDCWD, ctypes.c_char_p(os.fsencode(source)), flags, what=str(source))


def set_idmap(tree: int, userns: int, *, recursive: bool = False) -> None:
    """Map the owners of a detached mount through a user namespace (MOUNT_ATTR_IDMAP, Linux 5.12)."""
    attr = _MountAttr(MOUNT_ATTR_IDMAP, 0, 0, userns)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    libc.syscall(
        libc.MOUNT_SETATTR, tree, ctypes.c_char_p(b""), flags, ctypes.byref(attr), ctypes.sizeof(attr), what="idmap"
    )


def attach_tree(tree: int, target: str | Path) -> None:
    """Mount a detached tree on target (move_mount(2))."""
    libc.syscall(
        libc.MOVE_MOUNT,
        tree,
        ctypes.c_char_p(b""),
        AT_FDCWD,
        ctypes.c_char_p(os.fsencode(target)),
        MOVE_MOUNT_F_EMPTY_PATH,
        what=str(target),
    )


_OCTAL = re.compile(r"\\([0-7]{3})")
_PLAIN = re.compile(r"[A-Za-z0-9/._-]*")


def parse_mountinfo(text: str) -> list[MountPoint]:
    """The lines of a mountinfo file, in mount order; octal escapes (space, tab, newline, backslash) undone."""
    points = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if len(fields) < 6 or len(tail) < 2:
            continue
        root, target = (_OCTAL.sub(lambda m: chr(int(m[1], 8)), field) for field in fields[3:5])
        options = frozenset(fields[5].split(","))
        points.append(MountPoint(target, tail[0], tail[1], options, tuple(fields[6:]), root))
    return points


def table(pid: int | None = None) -> list[MountPoint]:
    """The mounts a process sees, below its own root; this process by default. OSError if it is gone."""
    path = Path("/proc", "self" if pid is None else str(pid), "mountinfo")
    return parse_mountinfo(path.read_text(errors="surrogateescape"))


def below(directory: str | Path) -> list[str]:
    """Mount points at or below directory, innermost and newest first: the order to unmount them in."""
    prefix = str(directory).rstrip("/")
    lines = proc_files.read("/proc/self/mountinfo").splitlines()
    word = os.fsencode(prefix) if _PLAIN.fullmatch(prefix) else b""  # as it is in the table, where no escape is needed
    near = parse_mountinfo("\n".join(os.fsdecode(line) for line in lines if word in line))
    return [p.target for p in reversed(near) if p.target == prefix or p.target.startswith(prefix + "/")]
