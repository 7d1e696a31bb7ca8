"""Reads files below /proc without Python's file objects, which cost 30 us each. proc(5)."""

import os

_PART = 1 << 16  # bytes


def read(path: str) -> bytes:
    """All of a file. Raises OSError; ESRCH where its process ended meanwhile."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = [os.read(file, _PART)]
        while parts[-1]:  # a short read is not the end: the kernel returns whole records
            parts.append(os.read(file, _PART))
        return b"".join(parts)
    finally:
        os.close(file)
