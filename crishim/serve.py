"""The daemon's life: one per state directory, sockets open before recovery, ready after it, drained at SIGTERM.

Containers do not notice any of it: conmon holds them.
"""

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from crishim.config import Config, ConfigError, check_paths
from crishim.errors import CrishimError
from crishim.ground import make_directories
from crishim.wire.linux import directories, executors

if TYPE_CHECKING:
    from crishim.wiring import Daemon

# gRPC's fork handlers are not wanted: no child of this process ever runs Python (set before grpc is imported).
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

log = logging.getLogger("crishim")


def serve(config: Config) -> int:
    """Run the daemon until SIGTERM or SIGINT; the exit status. Raises ConfigError for settings that cannot be used."""
    from crishim.cri.logs import set_up

    check_paths(config)
    make_directories(config)
    set_up(config.log.level, config.log.format)
    with only_daemon(Path(config.state_dir), Path(config.run_dir)):
        if sys.version_info < (3, 12):  # later versions have pidfds by default
            asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
        asyncio.run(_daemon(config))
    return 0


@contextlib.contextmanager
def only_daemon(*directories: Path) -> Iterator[None]:
    """Hold a lock on each directory. ConfigError if another daemon works there; the kernel frees them at our end."""
    with contextlib.ExitStack() as stack:
        for directory in directories:
            # Whoever can open it can take the lock.
            path = directory / "lock"
            file = stack.enter_context(open(path, "w", opener=_private))
            path.chmod(0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(f"another crishim daemon works in {directory}") from None
        yield


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


async def _daemon(config: Config) -> None:
    from crishim.wiring import build

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    daemon = await build(config)
    try:
        stop_metrics = await _open(config, daemon)
        await daemon.recover()
    except BaseException:
        await daemon.server.stop(None)
        raise
    daemon.gate.open = True
    gc.collect()
    gc.freeze()  # what is alive now stays: no collection needs to walk it again
    notify("READY=1")
    log.info("serving", extra={"socket": config.socket, "streams": daemon.streams.url, "pid": os.getpid()})
    await stop.wait()
    notify("STOPPING=1")
    log.info("draining")
    daemon.events.close()
    await daemon.server.stop(config.drain_timeout)
    await daemon.streams.stop()
    if stop_metrics:
        await executors.records(stop_metrics)
    left = await daemon.owned.drain(config.drain_timeout)
    if left:
        log.warning("calls were still under way: the next start finishes or undoes them", extra={"calls": left})
    Path(config.socket).unlink(missing_ok=True)
    log.info("stopped; containers keep running")


async def _open(config: Config, daemon: "Daemon") -> Callable[[], None] | None:
    """Listen at every address of the settings; how to stop the metrics' server. ConfigError names the setting."""
    from crishim.cri.metrics.endpoint import serve as serve_metrics

    try:
        await daemon.streams.start(config.stream.address, config.stream.port)
    except CrishimError as error:
        raise ConfigError(f"stream.tls_cert, stream.tls_key: {error.message}") from None
    except OSError as error:
        where = f"{config.stream.address}:{config.stream.port}"
        raise ConfigError(f"stream.address, stream.port: cannot listen on {where}: {error}") from None
    try:
        stop_metrics = serve_metrics(config.metrics.address, daemon.metrics) if config.metrics.address else None
    except CrishimError as error:
        raise ConfigError(error.message) from None
    listen(daemon.server, Path(config.socket))
    await daemon.server.start()
    Path(config.socket).chmod(0o660)
    return stop_metrics


def listen(server: object, path: Path) -> None:
    """Bind the CRI socket, mode 0660 from its first moment. A socket nobody listens at any more is replaced.

    ConfigError if somebody does, or if the path is anything but a socket: only sockets are ever removed.
    """
    directories.make_missing(path.parent, directories.PUBLIC)
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise ConfigError(f"socket: another program listens at {path}")
        path.unlink(missing_ok=True)
    elif os.path.lexists(path):
        raise ConfigError(f"socket: {path} is not a socket")
    before = os.umask(0o117)
    try:
        server.add_insecure_port(f"unix:{path}")  # type: ignore[attr-defined]
    except RuntimeError:
        raise ConfigError(f"socket: cannot listen at {path}") from None
    finally:
        os.umask(before)


def notify(state: str) -> None:
    """Tell the service manager (sd_notify(3)); nothing without one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
