"""Small files: read without waiting for whatever else may stand at the path, replaced as a whole by rename(2), and what
is left of that on a full disk.
"""

import errno
import os
import stat
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)


def read_regular(path: str | Path, limit: int) -> bytes:
    """A file's content, symlinks followed. OSError as of open(2), and EINVAL for anything but a regular file, EFBIG for
    one of more than limit bytes.

    A FIFO that nobody writes to would block, and opening a device may do something: arm a watchdog, rewind a tape. So
    what stands there is looked at before it is opened.
    """
    fd = open_regular(path)
    try:
        return read_bounded(fd, str(path), limit)
    finally:
        os.close(fd)


def open_regular(path: str | Path) -> int:
    """A descriptor to read a regular file, which the caller closes; errors as of read_regular()."""
    found = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return reopen_regular(found, str(path))
    finally:
        os.close(found)


def reopen_regular(found: int, path: str) -> int:
    """As open_regular() for what an O_PATH descriptor stands for. path: for the error."""
    if not stat.S_ISREG(os.fstat(found).st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", path)
    return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def read_bounded(fd: int, path: str, limit: int) -> bytes:
    """What is left to read of a descriptor; OSError EFBIG beyond the limit. path: for the error."""
    content = b""
    while len(content) <= limit and (more := os.read(fd, limit + 1 - len(content))):
        content += more
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit} bytes", path)
    return content


def tail(path: Path, limit: int) -> bytes:
    """The last `limit` bytes of a file of ours."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - limit))
        return file.read(limit)


def replace(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Give a file new content: written beside (suffix .tmp) and renamed, so that a reader or a crash sees old or new.

    On a full disk a file that exists is overwritten in its own blocks, which takes no space and is what lets a node be
    emptied; padded with spaces to its old length, so data must be of a kind that may end in spaces, such as JSON. One
    write(2) within a page is not torn by a kill. Raises OSError if that does not do either; then the file is as it was.
    mode: of a new file; None: as the umask has it.
    """
    beside = path.with_suffix(".tmp")
    try:
        beside.write_bytes(data)
        if mode is not None:
            beside.chmod(mode)
        os.replace(beside, path)  # noqa: PTH105
    except OSError as error:
        beside.unlink(missing_ok=True)
        if error.errno not in FULL or not _overwrite(path, data):
            raise


def _overwrite(path: Path, data: bytes) -> bool:
    """Whether the file could be overwritten without another block."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        status = os.fstat(fd)
        if len(data) > status.st_blocks * 512:
            return False
        padded = data.ljust(status.st_size)
        return os.pwrite(fd, padded, 0) == len(padded)
    finally:
        os.close(fd)
