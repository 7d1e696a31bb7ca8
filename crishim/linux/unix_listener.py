"""A listening unix socket with an explicit mode and owner. unix(7)."""

import os
import socket
import stat
from pathlib import Path

from crishim.linux import directories

MODE = 0o660


def listen(path: Path, who: str) -> socket.socket:
    """A listening, non-blocking socket of root's (mode 0660); its directory is made if missing (0700).

    A socket that nobody listens on is replaced. OSError: somebody listens there, or it is no socket, or the path cannot
    be used. who: the listener, for the error: "another WHO listens there".
    """
    directories.make_missing(path.parent, directories.PRIVATE)
    _remove_stale(path, who)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(path))
        path.chmod(MODE)  # before anybody can connect
        os.chown(path, 0, 0) if os.geteuid() == 0 else None
        listening.setblocking(False)
        listening.listen(64)
    except BaseException:
        listening.close()
        raise
    return listening


def inode(path: Path) -> tuple[int, int]:
    """Device and inode of the file, to remove one's own socket only and not a replacement. OSError."""
    status = path.lstat()
    return status.st_dev, status.st_ino


def _remove_stale(path: Path, who: str) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(17, "there is a file, and no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(1.0)
        try:
            caller.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except OSError as error:
            raise FileExistsError(17, f"there is a socket that cannot be asked: {error}") from error
        else:
            raise FileExistsError(17, f"another {who} listens there")
