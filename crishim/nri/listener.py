"""The socket plugins connect to. Access to it is as powerful as root, so only root may connect."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from crishim.errors import CrishimError, Kind
from crishim.linux import executors, unix_listener


class PluginListener:
    """Listens, and owns the socket's file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._server: asyncio.Server | None = None
        self._inode = (0, 0)

    async def open(self, factory: Callable[[], asyncio.Protocol]) -> None:
        """Listen; makes the directory if needed (0700). Raises PRECONDITION if the path is in use or cannot be used."""
        try:
            listening = await executors.records(unix_listener.listen, self._path, "runtime")
        except OSError as error:
            raise CrishimError(
                Kind.PRECONDITION, f"cannot listen for NRI plugins at {self._path}: {error.strerror or error}"
            ) from error
        self._inode = await executors.records(unix_listener.inode, self._path)
        self._server = await asyncio.get_running_loop().create_unix_server(factory, sock=listening)

    async def close(self) -> None:
        """Stop listening, and remove the file unless another one is in its place."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        with contextlib.suppress(OSError):
            if await executors.records(unix_listener.inode, self._path) == self._inode:
                await executors.records(self._path.unlink)
