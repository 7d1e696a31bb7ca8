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
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from crishim.config import Config, ConfigError
from crishim.config_paths import check_nri, check_paths
from crishim.errors import CrishimError
from crishim.linux import directories, executors, inheritance
from crishim.operations.own_directories import make_directories

if TYPE_CHECKING:
    from crishim.cli.daemon import Daemon
    from crishim.node import Node

# gRPC's fork handlers are not wanted: no child of this process ever runs Python (set before grpc is imported).
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

_GRACE = 1.0  # seconds after the drain timeout in which a daemon that hangs is left to end by itself
_LAST_WORDS = 0.5  # seconds for the log's last lines
log = logging.getLogger("crishim")


def serve(config: Config) -> int:
    """Run the daemon until SIGTERM or SIGINT; the exit status. Raises ConfigError for settings that cannot be used."""
    from crishim.cri.logs import set_up

    inheritance.pass_on_defaults()
    check_paths(config)
    check_nri(config)
    make_directories(config)
    output = set_up(config.log.level, config.log.format)
    with only_daemon(Path(config.state_dir), Path(config.run_dir)) as release:

        def abandon() -> None:
            """End at once, as a kill would: a thread in the kernel that cannot be killed keeps what is open."""
            Path(config.socket).unlink(missing_ok=True)
            release()
            output.flush_within(_LAST_WORDS)
            os._exit(0)

        if sys.version_info < (3, 12):  # later versions have pidfds by default
            asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
        asyncio.run(_daemon(config, abandon))
    output.flush_within(_LAST_WORDS)
    return 0


@contextlib.contextmanager
def only_daemon(*directories: Path) -> Iterator[Callable[[], None]]:
    """Hold a lock on each directory; the value frees them. ConfigError if another daemon works there."""
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
        yield stack.close


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


async def _daemon(config: Config, abandon: Callable[[], None]) -> None:
    """abandon: ends the process, whatever its threads and tasks are at."""
    from crishim.cli.daemon import build

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stopping, stop, config.drain_timeout, abandon)
    daemon = await build(config)
    try:
        stop_metrics = await _open(config, daemon)
        recovered = await _recover(daemon.node, stop)
    except BaseException:
        await daemon.server.stop(None)
        raise
    if recovered:
        await _serve(config, daemon, stop)
    notify("STOPPING=1")
    log.info("draining")
    left = await _drain(daemon, stop_metrics, config.drain_timeout) + ([] if recovered else ["recovery"])
    if left:
        log.warning("calls were still under way: the next start finishes or undoes them", extra={"calls": left})
        abandon()
    await executors.records(Path(config.socket).unlink, missing_ok=True)
    log.info("stopped; containers keep running")


def _stopping(stop: asyncio.Event, drain_timeout: float, abandon: Callable[[], None]) -> None:
    """A signal: from now on the process has the drain timeout to end, and a little to say so."""
    if stop.is_set():
        return
    stop.set()

    def late() -> None:
        time.sleep(drain_timeout + _GRACE)
        log.error("not stopped in time: what hangs is left behind", extra={"seconds": drain_timeout})
        abandon()

    threading.Thread(target=late, name="end", daemon=True).start()


async def _begin(node: "Node") -> None:
    """What a daemon does before it serves."""
    from crishim.operations.nri_runtime import NriRuntime
    from crishim.operations.recover import recover

    try:
        await node.nri.start(NriRuntime(node))  # launched plugins are told of what recovery ends
    except CrishimError as error:
        raise ConfigError(f"nri.socket: {error.message}") from None
    await recover(node)
    await node.netdevices.watch()


async def _recover(node: "Node", stop: asyncio.Event) -> bool:
    """Whether recovery ended; it is not waited for when the daemon is to stop."""
    recovery = asyncio.ensure_future(_begin(node))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([recovery, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if recovery.done():
        await recovery
    return recovery.done()


async def _serve(config: Config, daemon: "Daemon", stop: asyncio.Event) -> None:
    daemon.gate.open = True
    gc.collect()
    gc.freeze()  # what is alive now stays: no collection needs to walk it again
    notify("READY=1")
    log.info("serving", extra={"socket": config.socket, "streams": daemon.streams.url, "pid": os.getpid()})
    await stop.wait()


async def _drain(daemon: "Daemon", stop_metrics: Callable[[], None] | None, timeout: float) -> list[str]:
    """Take no more calls and wait for those under way, timeout seconds in all; the names of those left."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    daemon.node.subscribers.close()
    closing = [asyncio.ensure_future(step) for step in (daemon.server.stop(timeout), daemon.streams.stop())]
    closing += [asyncio.ensure_future(step()) for step in (daemon.node.netdevices.close, daemon.node.nri.close)]
    if stop_metrics:
        closing.append(asyncio.ensure_future(executors.records(stop_metrics)))
    done, late = await asyncio.wait(closing, timeout=timeout + _GRACE / 2)  # calls are cancelled at the timeout
    for task in done:
        task.result()
    return await daemon.node.tasks.drain(max(deadline - loop.time(), 0)) + (["closing the servers"] if late else [])


async def _open(config: Config, daemon: "Daemon") -> Callable[[], None] | None:
    """Listen at every address of the settings; how to stop the metrics' server. ConfigError names the setting."""
    from crishim.cri.metrics.endpoint import serve as serve_metrics
    from crishim.cri.node_streams import NodeStreams

    try:
        await daemon.streams.start(NodeStreams(daemon.node), config.stream.address, config.stream.port)
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
