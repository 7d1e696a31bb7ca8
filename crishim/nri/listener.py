"""The socket plugins come to. Whoever can connect to it is as powerful as the runtime: it is root's alone."""

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

from crishim.errors import CrishimError, Kind
from crishim.linux import directories, executors

MODE = 0o660


class Listener:
    """Owns the socket's file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._server: asyncio.Server | None = None
        self._inode = (0, 0)

    async def open(self, factory: Callable[[], asyncio.Protocol]) -> None:
        """Listen, with the directory made if need be (0700). PRECONDITION: the path is taken, or cannot be used."""
        try:
            listening = await executors.records(_listening, self._path)
        except OSError as error:
            raise CrishimError(
                Kind.PRECONDITION, f"cannot listen for NRI plugins at {self._path}: {error.strerror or error}"
            ) from error
        self._inode = await executors.records(_inode, self._path)
        self._server = await asyncio.get_running_loop().create_unix_server(factory, sock=listening)

    async def close(self) -> None:
        """No new connections, and no file, unless somebody has put another one in its place."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        with contextlib.suppress(OSError):
            if await executors.records(_inode, self._path) == self._inode:
                await executors.records(self._path.unlink)


def _inode(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def _listening(path: Path) -> socket.socket:
    directories.make_missing(path.parent, directories.PRIVATE)
    _make_room(path)
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


def _make_room(path: Path) -> None:
    """Remove the socket of a runtime that is gone. OSError: one that answers, or no socket."""
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
            raise FileExistsError(17, "another runtime listens there")
