"""Pidfds: wait for the end of a process that is not our child, and read its exit code.

pidfd_open(2): a pidfd becomes readable when its process has ended. ioctl_pidfd(2), PIDFD_GET_INFO: since Linux 6.15 the
exit code can be read once the parent has reaped the process.
"""

import asyncio
import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator

_GET_INFO = 0xC040FF0B  # _IOWR(0xFF, 11, struct pidfd_info of 64 bytes)
_INFO_EXIT = 1 << 3
_INFO = struct.Struct("=QQ11Ii")  # mask, cgroup id, eleven ids, exit code


@contextlib.contextmanager
def watched(pidfd: int) -> Iterator[asyncio.Future[None]]:
    """A future that is done when the process has ended (a zombie has)."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def readable() -> None:
        loop.remove_reader(pidfd)
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(pidfd, readable)
    try:
        yield ended
    finally:
        loop.remove_reader(pidfd)


def exit_code(pidfd: int) -> int | None:
    """The code a shell would show (128 + signal for a signal) of a process that has been reaped by its parent.

    None before that, and on older kernels.
    """
    info = bytearray(_INFO.pack(_INFO_EXIT, *[0] * 13))
    try:
        fcntl.ioctl(pidfd, _GET_INFO, info)
    except OSError:
        return None
    mask, *_, status = _INFO.unpack(info)
    return to_code(status) if mask & _INFO_EXIT else None


def to_code(status: int) -> int:
    """A wait status as a shell shows it."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
