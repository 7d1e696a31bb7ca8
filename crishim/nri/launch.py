"""Launch plugins: programs NN-NAME of a directory, each with its end of a connection as descriptor 3.

Their environment is NRI's three variables, without PATH, as with other runtimes. A program is killed when the daemon
stops; if the daemon is killed, its connection ends. It is not restarted.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from crishim.linux import executors, pidfds
from crishim.nri.registration import LaunchedPlugin, bad_name

SOCKET_FD = 3
MAX_CONFIG = 1 << 20  # bytes of a configuration file
MAX_PLUGINS = 64
KEPT = 4096  # bytes of a program's last output, for the log line of its end
REAPING = 2.0  # seconds a killed program has to exit

log = logging.getLogger("crishim.nri")


def found(directory: Path, config_directory: Path) -> list[LaunchedPlugin]:
    """The executable files of the directory in the order of their names, with their configuration. Blocks.

    Files that are not executable are left out, and those not named NN-NAME with a log line. Without the directory: [].
    """
    try:
        entries = sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    programs: list[LaunchedPlugin] = []
    for path in entries:
        if not path.is_file() or not path.stat().st_mode & 0o111:
            continue
        index, _, name = path.name.partition("-")
        if why := bad_name(index, name):
            log.warning("an NRI plugin is not launched: it %s", why, extra={"path": str(path)})
        elif len(programs) == MAX_PLUGINS:
            log.warning("an NRI plugin is not launched: there are too many", extra={"path": str(path)})
        else:
            programs.append(LaunchedPlugin(index, name, str(path), _config(config_directory, index, name)))
    return programs


def _config(directory: Path, index: str, name: str) -> str:
    for file in (directory / f"{index}-{name}.conf", directory / f"{name}.conf"):
        try:
            with file.open("rb") as opened:
                return opened.read(MAX_CONFIG).decode(errors="replace")
        except OSError:
            continue
    return ""


class PluginProcess:
    """A launched plugin's process."""

    def __init__(self, launched: LaunchedPlugin) -> None:
        self._launched = launched
        self._output = bytearray()
        self.pid = 0
        self._pidfd = -1
        self._watching: asyncio.Task[None] | None = None

    async def start(self, factory: Callable[[], asyncio.Protocol]) -> None:
        """Start it, with a protocol of factory at our end of its connection. Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            read, write = os.pipe2(os.O_CLOEXEC)
            try:
                self.pid = await executors.processes(_spawn, self._launched, theirs.fileno(), write)
                self._pidfd = os.pidfd_open(self.pid)
            except BaseException:
                ours.close()
                os.close(read)
                raise
            finally:
                os.close(write)
        self._watching = asyncio.create_task(self._watch(read), name=f"nri program {self._launched.name}")
        ours.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(factory, sock=ours)

    async def end(self) -> None:
        """Kill its process group and wait until it has exited, REAPING seconds at most."""
        if self._watching is None:
            return
        if not self._watching.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        await asyncio.wait([self._watching], timeout=REAPING)

    async def _watch(self, output: int) -> None:
        """Read its output, and reap it when it exits."""
        loop = asyncio.get_running_loop()
        os.set_blocking(output, False)
        loop.add_reader(output, self._read, output)
        try:
            with pidfds.watched(self._pidfd) as ended:
                await ended
            status = self._reap()
            self._read(output)
        finally:
            loop.remove_reader(output)
            os.close(output)
            os.close(self._pidfd)
        output_text = " ".join(self._output.decode(errors="replace").split())
        log.info(
            "a launched NRI plugin has ended",
            extra={"path": self._launched.path, "exit_code": pidfds.to_code(status), "said": output_text},
        )

    def _reap(self) -> int:
        """The wait status of the exited program."""
        return os.waitpid(self.pid, os.WNOHANG)[1]

    def _read(self, output: int) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(output, 64 << 10)
            self._output += data
            del self._output[:-KEPT]
            if not data:
                asyncio.get_running_loop().remove_reader(output)


def _spawn(launched: LaunchedPlugin, connection: int, output: int) -> int:
    """posix_spawn(3): asyncio's subprocesses cannot pass the socket as descriptor 3."""
    environment = {
        "NRI_PLUGIN_NAME": launched.name,
        "NRI_PLUGIN_IDX": launched.index,
        "NRI_PLUGIN_SOCKET": str(SOCKET_FD),
    }
    # Above the numbers that are set below, so that none is overwritten before it is used.
    high = [_above(fd) for fd in (connection, output)]
    try:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, high[1], 1),
            (os.POSIX_SPAWN_DUP2, high[1], 2),
            (os.POSIX_SPAWN_DUP2, high[0], SOCKET_FD),
            *((os.POSIX_SPAWN_CLOSE, fd) for fd in _inherited()),
        ]
        return os.posix_spawn(launched.path, [launched.path], environment, file_actions=actions, setsid=True)
    finally:
        for fd in high:
            os.close(fd)


def _inherited() -> list[int]:
    """Descriptors a program would inherit: libraries open some without close-on-exec."""
    return [fd for fd in (int(path.name) for path in Path("/proc/self/fd").iterdir()) if fd > SOCKET_FD]


def _above(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, SOCKET_FD + 1)
