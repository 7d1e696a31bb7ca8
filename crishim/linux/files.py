"""Small files: read only if they are regular files, replaced as a whole by rename(2), on a full disk overwritten."""

import errno
import os
import stat
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)


def read_regular(path: str | Path, limit: int) -> bytes:
    """A file's content, symlinks followed. OSError as of open(2), and EINVAL for anything but a regular file, EFBIG for
    one of more than limit bytes.

    Its type is checked before it is opened: a FIFO without a writer would block, and opening a device may have effects
    (arm a watchdog, rewind a tape).
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
    """As open_regular() for an O_PATH descriptor. path: for the error."""
    if not stat.S_ISREG(os.fstat(found).st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", path)
    return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def read_bounded(fd: int, path: str, limit: int) -> bytes:
    """Read a descriptor to its end; OSError EFBIG beyond the limit. path: for the error."""
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
    """Replace a file's content: written to a new file (suffix .tmp) that is renamed, so that it is never partial.

    On a full disk an existing file is overwritten in its own blocks, so that pods can still be removed. It is padded
    with spaces to its old length, so data must be of a kind that may end in spaces, such as JSON. One write(2) within
    a page is not torn by a kill. Raises OSError if that fails too; then the file is as it was.
    mode: of a new file; None: by the umask.
    """
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_bytes(data)
        if mode is not None:
            temporary.chmod(mode)
        os.replace(temporary, path)  # noqa: PTH105
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno not in FULL or not _overwrite(path, data):
            raise


def _overwrite(path: Path, data: bytes) -> bool:
    """Overwrite the file if it needs no more blocks; returns whether it did."""
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
