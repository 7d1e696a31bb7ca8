"""Small files that are replaced as a whole: rename(2), and what is left of it on a full disk."""

import errno
import os
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)


def replace(path: Path, data: bytes) -> None:
    """Give a file new content: written beside (suffix .tmp) and renamed, so that a reader or a crash sees old or new.

    On a full disk a file that exists is overwritten in its own blocks, which takes no space and is what lets a node be
    emptied; padded with spaces to its old length, so data must be of a kind that may end in spaces, such as JSON. One
    write(2) within a page is not torn by a kill. Raises OSError if that does not do either; then the file is as it was.
    """
    beside = path.with_suffix(".tmp")
    try:
        beside.write_bytes(data)
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
