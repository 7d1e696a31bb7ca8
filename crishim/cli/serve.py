"""`crishim serve`: run the daemon: one per state directory, socket open first, ready after recovery, drained at
SIGTERM.

A kubelet's first calls are answered before most of the code is imported: this file imports what cri/status.py needs,
then gRPC, opens the socket, and with cli/daemon.py imports the rest (tests/unit/cli/test_imports.py). cri/gate.py
decides which RPCs are answered when. Containers are not affected: conmon monitors them.
"""

import asyncio
import contextlib
import fcntl
import gc
import importlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import crishim
from crishim.base_node import BaseNode, open_base_node
from crishim.cli.service_manager import notify, send_watchdog
from crishim.config import Config, ConfigError
from crishim.config_paths import check_nri, check_paths
from crishim.cri.gate import RpcGate
from crishim.cri.logs import set_up
from crishim.cri.status import Status
from crishim.linux import directories, executors, inheritance
from crishim.operations.own_directories import make_directories
from crishim.pb import cri_pb2 as cri

if TYPE_CHECKING:
    import grpc.aio

    from crishim.cli.daemon import Daemon

# gRPC's fork handlers are not needed: no child of this process runs Python (set before grpc is imported).
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

_GRACE = 1.0  # seconds after the drain timeout until a daemon that hangs is ended
_LOG_FLUSH = 0.5  # seconds to write the log's last lines
_SWITCH_INTERVAL = 0.0005  # seconds
log = logging.getLogger("crishim")


def serve(read: Callable[[], Config]) -> int:
    """Run the daemon until SIGTERM or SIGINT; returns the exit status. Raises ConfigError for unusable settings.

    read: returns the settings; called again, in a thread, at each SIGHUP.
    """
    config = read()
    inheritance.reset_inherited_signals()
    try:
        check_paths(config)
        check_nri(config)
        make_directories(config)
    except ConfigError as error:
        if os.geteuid():
            text = (
                f"crishim serve needs root, for namespaces, mounts, cgroups and devices, and runs as uid {os.geteuid()}"
            )
            raise ConfigError(f"{text} ({error})") from None
        raise
    output = set_up(config.log.level, config.log.format)
    with only_daemon(Path(config.state_dir), Path(config.run_dir)) as release:

        def abandon() -> None:
            """Exit at once, as if killed: an unkillable thread in the kernel keeps descriptors open."""
            Path(config.socket).unlink(missing_ok=True)
            release()
            output.flush_within(_LOG_FLUSH)
            os._exit(0)

        if sys.version_info < (3, 12):  # later versions have pidfds by default
            asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
        asyncio.run(_daemon(open_base_node(config), abandon, read))
    output.flush_within(_LOG_FLUSH)
    return 0


def _facts_of(config: Config) -> dict[str, object]:
    """Facts for the log line of the start: the version, and the main settings."""
    handlers = {name: handler.path for name, handler in config.runtimes.handlers.items()}
    places = {"socket": config.socket, "state_dir": config.state_dir, "run_dir": config.run_dir}
    drivers = {"handlers": handlers, "default": config.runtimes.default, "cgroup_driver": config.runtimes.cgroup_driver}
    return {"version": crishim.__version__, "pid": os.getpid(), **places, **drivers}


@contextlib.contextmanager
def only_daemon(*directories: Path) -> Iterator[Callable[[], None]]:
    """Lock each directory; yields a function that unlocks them. Raises ConfigError if another daemon has a lock."""
    with contextlib.ExitStack() as stack:
        for directory in directories:
            # Mode 0600: any user who can open it can lock it.
            path = directory / "lock"
            file = stack.enter_context(open(path, "a+", opener=_private))
            path.chmod(0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(f"another crishim daemon works in {directory}{_holder(file)}") from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
        yield stack.close


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _holder(lock: TextIO) -> str:
    lock.seek(0)
    pid = lock.read(20).strip()
    return f" (pid {pid})" if pid.isdecimal() else ""


async def _daemon(base: BaseNode, abandon: Callable[[], None], read: Callable[[], Config]) -> None:
    """abandon: exits the process at once, whatever its threads and tasks do."""
    config, gate, stop, hangup = base.config, RpcGate(base), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stopping, stop, config.drain_timeout, abandon)
    base.tasks.start(Status(base, cri.StatusRequest()), name="status")  # its slow parts are cached for the first client
    with _short_switch_interval():
        await _imported("crishim.cri.server")
        server = await _open_socket(Path(config.socket), gate)
        log.info("starting", extra=_facts_of(config))
        try:
            for module in ("crishim.cli.daemon", "crishim.cli.reload"):
                await _imported(module)
            gc.enable()
            daemon, recovered = await _start(base, gate, stop)
        except BaseException:
            await server.stop(None)
            raise
    if recovered:
        from crishim.cli.reload import reload_at

        reloading = asyncio.create_task(reload_at(hangup, daemon.node, read))
        await _serve(daemon, gate, stop)
        reloading.cancel()
    notify("STOPPING=1")
    log.info("draining")
    left = await _drain(server, daemon, config.drain_timeout) + ([] if recovered else ["recovery"])
    if left:
        log.warning("calls were still under way: the next start finishes or undoes them", extra={"calls": left})
        abandon()
    from crishim.linux import cgroups

    await executors.records(Path(config.socket).unlink, missing_ok=True)
    if config.runtimes.cgroup_driver == "cgroupfs":  # empty now; the next pod makes it again
        await executors.kernel(cgroups.remove_one, config.pods.cgroup_parent)
    log.info("stopped; containers keep running")


async def _imported(module: str) -> None:
    """Import a module in a thread, so that RPCs are answered meanwhile."""
    await executors.modules(importlib.import_module, module)


@contextlib.contextmanager
def _short_switch_interval() -> Iterator[None]:
    """While a thread imports: the event loop waits _SWITCH_INTERVAL for the GIL when it wakes, not Python's 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


async def _open_socket(path: Path, gate: RpcGate) -> "grpc.aio.Server":
    """Answer RPCs that need no records: cri/status.py. Raises ConfigError if it cannot listen."""
    from crishim.cri.server import make_server

    server = make_server(gate)
    listen(server, path)
    await server.start()
    path.chmod(0o660)
    return server


async def _start(base: BaseNode, gate: RpcGate, stop: asyncio.Event) -> "tuple[Daemon, bool]":
    """Start the rest of the daemon; returns it, and whether recovery ended before a stop was requested."""
    from crishim.cli.daemon import begin, build

    daemon = await build(base)
    recovery = asyncio.ensure_future(begin(daemon.node, gate))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([recovery, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if recovery.done():
        await recovery
    return daemon, recovery.done()


def _stopping(stop: asyncio.Event, drain_timeout: float, abandon: Callable[[], None]) -> None:
    """Handle a stop signal: the process has the drain timeout and _GRACE to exit."""
    if stop.is_set():
        return
    stop.set()

    def late() -> None:
        time.sleep(drain_timeout + _GRACE)
        log.error("not stopped in time: what hangs is left behind", extra={"seconds": drain_timeout})
        abandon()

    threading.Thread(target=late, name="end", daemon=True).start()


async def _serve(daemon: "Daemon", gate: RpcGate, stop: asyncio.Event) -> None:
    gate.open()
    gc.collect()
    gc.freeze()  # objects alive now stay: collections need not traverse them
    notify("READY=1")
    facts = {"socket": daemon.node.config.socket, "streams": daemon.streams.url, "pid": os.getpid()}
    log.info("serving", extra=facts)
    watchdog = asyncio.create_task(send_watchdog())
    await stop.wait()
    watchdog.cancel()


async def _drain(server: "grpc.aio.Server", daemon: "Daemon", timeout: float) -> list[str]:
    """Accept no more calls and wait for running ones, timeout seconds in all; returns the names of those left."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    daemon.node.subscribers.close()
    closing = [asyncio.ensure_future(step) for step in (server.stop(timeout), daemon.streams.stop())]
    closing += [asyncio.ensure_future(step()) for step in (daemon.node.netdevices.close, daemon.node.nri.close)]
    closing += [asyncio.ensure_future(executors.records(stop)) for stop in daemon.stop_telling]
    done, late = await asyncio.wait(closing, timeout=timeout + _GRACE / 2)  # calls are cancelled at the timeout
    for task in done:
        task.result()
    return await daemon.node.tasks.drain(max(deadline - loop.time(), 0)) + (["closing the servers"] if late else [])


def listen(server: object, path: Path) -> None:
    """Bind the CRI socket, with mode 0660 from the start. A stale socket is replaced.

    Raises ConfigError if a program listens there, or if the path is anything but a socket.
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
