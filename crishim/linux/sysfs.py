"""sysfs of one network namespace, and the inode that identifies a network device. sysfs(5), fsmount(2).

The kernel makes a directory for each device and keeps it, with its inode, through renames and moves between namespaces;
an inode number is not reused before a reboot (kernfs, 64 bits since Linux 5.5) and cannot be chosen. A mount of sysfs
shows the devices of the namespace it was made in, so one is made for each, detached.
"""

import errno
import os
import threading
from collections.abc import Callable

from crishim.linux import libc

FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC, FSCONFIG_CMD_CREATE = 1, 1, 6
GONE = (errno.ENOENT, errno.ENODEV, errno.EINVAL)  # errors of an attribute's open and read while its device is removed


def mount() -> int:
    """A descriptor of a sysfs for the network namespace the calling thread is in; closing it unmounts. Raises OSError.

    0.1 ms to open, and as much to close.
    """
    context = libc.syscall(libc.FSOPEN, b"sysfs", FSOPEN_CLOEXEC, what="sysfs")
    try:
        libc.syscall(libc.FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0, what="sysfs")
        return libc.syscall(libc.FSMOUNT, context, FSMOUNT_CLOEXEC, 0, what="sysfs")
    finally:
        os.close(context)


class Kept:
    """Holds the sysfs of one namespace, the node's, for repeated use: closing one may take milliseconds, as the kernel
    waits for a grace period. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fd = -1

    def get(self, make: Callable[[], int]) -> int:
        """Its descriptor. The first call mounts it with make, which runs in the namespace. Raises OSError."""
        with self._lock:
            if self._fd < 0:
                self._fd = make()
            return self._fd

    def close(self) -> None:
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
            self._fd = -1


def device_inode(sysfs: int, name: str, ifindex: int) -> int:
    """The inode of a network device's directory; 0 unless the device of that name has that ifindex now."""
    try:
        directory = os.open(f"class/net/{name}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=sysfs)
    except FileNotFoundError:
        return 0
    try:
        file = os.open("ifindex", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
        try:
            same = os.read(file, 16).strip() == str(ifindex).encode()
        finally:
            os.close(file)
        return os.fstat(directory).st_ino if same else 0
    except OSError as error:
        if error.errno in GONE:
            return 0
        raise
    finally:
        os.close(directory)
