"""A file system with one file, /file, that nobody can open: whoever tries waits, and not even SIGKILL ends the waiting.

It speaks FUSE itself (include/uapi/linux/fuse.h, protocol 7.31) and leaves the request to open the file unanswered. The
kernel waits for an answer to a request that was read, as a network file system whose server is away makes processes
wait. close() ends the connection, and with it all the waiting.
"""

import contextlib
import os
import stat
import struct
import threading
from pathlib import Path

from crishim.linux import libc, mounts

_LOOKUP, _GETATTR, _OPEN, _STATFS, _INIT, _OPENDIR, _READDIR = 1, 3, 14, 17, 26, 27, 28
_SILENT = {2, _OPEN, 36, 38, 42}  # forget, interrupt, destroy and batch_forget want no answer
_REQUEST = struct.Struct("=IIQQIIII")  # length, opcode, unique, node, uid, gid, pid, padding
_ANSWER = struct.Struct("=IiQ")
_MNT_FORCE = 1
_FOREVER = 1 << 30  # seconds an answer about a name or an inode is good


def _attributes(node: int) -> bytes:
    """struct fuse_attr of the root (1) or of the file (2)."""
    mode = stat.S_IFDIR | 0o755 if node == 1 else stat.S_IFREG | 0o644
    return struct.pack("=6Q10I", node, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def _reply(opcode: int, node: int, body: bytes) -> bytes | int:
    """What is said to a request, or the error number."""
    if opcode == _INIT:
        return struct.pack("=IIIIHHIIHHI28x", 7, 31, 65536, 0, 16, 12, 65536, 1, 16, 0, 0)
    if opcode == _GETATTR:
        return struct.pack("=QII", _FOREVER, 0, 0) + _attributes(node)
    if opcode == _LOOKUP:
        return struct.pack("=QQQQII", 2, 0, _FOREVER, _FOREVER, 0, 0) + _attributes(2) if body == b"file\0" else 2
    if opcode == _STATFS:
        return bytes(80)
    if opcode == _OPENDIR:
        return bytes(16)
    return b"" if opcode == _READDIR else 38  # ENOSYS


class Hanging:
    """The file system, mounted on a directory until close()."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other"
        mounts.mount("fuse", "hanging", directory, data=options)
        self.waiting = threading.Event()  # somebody tries to open the file
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        """Until the file system is unmounted or its connection aborted: reading fails then."""
        try:
            while True:
                request = os.read(self._device, 1 << 17)
                _, opcode, unique, node, *_ = _REQUEST.unpack_from(request)
                if opcode == _OPEN:
                    self.waiting.set()
                if opcode not in _SILENT:
                    answer = _reply(opcode, node, request[_REQUEST.size :])
                    data, error = (b"", -answer) if isinstance(answer, int) else (answer, 0)
                    os.write(self._device, _ANSWER.pack(_ANSWER.size + len(data), error, unique) + data)
        except OSError:
            os.close(self._device)

    def close(self) -> None:
        """End the connection: whoever waits gets an error, and a signal that came meanwhile acts."""
        with contextlib.suppress(OSError):  # busy, but the connection is aborted (umount(2), MNT_FORCE)
            libc.umount2(str(self._directory), _MNT_FORCE)
        mounts.unmount(self._directory)
