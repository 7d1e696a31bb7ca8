"""Terminals: pairs, sizes, and receiving one from an OCI runtime. pty(7), ioctl_tty(2), unix(7) SCM_RIGHTS."""

import asyncio
import fcntl
import os
import socket
import struct
import termios
import tty
from pathlib import Path


def resize(fd: int, width: int, height: int) -> None:
    """Set a terminal's size in characters; the kernel sends SIGWINCH to its foreground processes."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


def open_raw_pair() -> tuple[int, int]:
    """A new terminal in raw mode: master and slave."""
    master, slave = os.openpty()
    tty.setraw(slave, termios.TCSANOW)
    return master, slave


class ConsoleSocket:
    """The listening socket an OCI runtime sends a container's terminal to (runtime-spec, --console-socket).

    path: of the socket; at most 107 bytes; removed by close().
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.bind(str(path))
        self._socket.listen(1)

    async def receive(self) -> int:
        """Wait for the runtime and return the terminal's master; the caller owns it."""
        loop = asyncio.get_running_loop()
        connection, _ = await loop.sock_accept(self._socket)
        with connection:
            connection.setblocking(False)
            while True:
                try:
                    _, fds, _, _ = socket.recv_fds(connection, 4096, 1, socket.MSG_CMSG_CLOEXEC)
                except BlockingIOError:
                    await _readable(connection)
                    continue
                if not fds:
                    raise OSError("the runtime sent no terminal")
                return fds[0]

    def close(self) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(connection, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(connection)
