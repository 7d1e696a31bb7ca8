"""Run conmon, the monitor of each container: it runs the runtime's create, holds the container's console, writes the
CRI log and, when the container has exited, its exit code. It outlives the daemon.

Its files in the bundle directory: pidfile, conmon.pid, ctl and winsz (FIFOs), attach (socket, SOCK_SEQPACKET), oom
(created at an OOM kill), exit (the code as text, written by rename once the log is complete). conmon(8).
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import termios
from array import array
from collections.abc import Mapping
from pathlib import Path

import msgspec

from crishim.decoding import NOT_JSON
from crishim.engine.runtime import Runtime, classify, error_message
from crishim.errors import CrishimError, Kind
from crishim.linux import environment, executors, process_trees, processes, programs, record_files
from crishim.model import ProcessRef
from crishim.records import UnreadableError

_LOG = "k8s-file:"  # the log driver
_LONGEST_REPORT = 1 << 20  # bytes; it includes the runtime's output
_REOPEN_LOGS = b"2 0 0\n"  # ctl message: type, height, width


class Launch(msgspec.Struct, frozen=True):
    """Arguments of conmon for a container."""

    container_id: str
    bundle: Path
    log_path: str  # "": no log
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False  # stdin is closed when the first attached client's input ends
    images: Path | None = None  # criu's, to restore the container from


class Launched(msgspec.Struct, frozen=True):
    process: ProcessRef
    monitor: ProcessRef


async def create(conmon: str, runtime: Runtime, launch: Launch) -> Launched:
    """Start conmon, which runs `runtime create`; returns when the container's process waits to be started.

    With images it runs `runtime restore`, and the processes run. Raises an error with the runtime's message if create
    fails, DEADLINE if it hangs; the caller then deletes the container.
    """
    receive, send = os.pipe()
    try:
        env = environment.minimal(_OCI_SYNCPIPE=str(send), TMPDIR=_short_directory(launch.bundle))
        argv = _arguments(conmon, runtime, launch)
        await programs.run(argv, timeout=runtime.timeout, env=env, cwd=launch.bundle, pass_fds=(send,))
    except BaseException:
        os.close(receive)
        raise
    finally:
        os.close(send)
    line = await _first_line(receive, launch, runtime.timeout)
    process, monitor = await executors.processes(_references, launch, line)
    if process is None:
        raise CrishimError(Kind.INTERNAL, f"container {launch.container_id[:13]} ended while it was being created")
    return Launched(process, monitor or process)


def _arguments(conmon: str, runtime: Runtime, launch: Launch) -> list[str]:
    argv = [conmon, "--api-version=1", "--cid", launch.container_id, "--cuuid", launch.container_id]
    argv += ["--name", launch.container_id[:13], "--runtime", runtime.path, "--bundle", str(launch.bundle)]
    argv += [
        "--container-pidfile",
        str(launch.bundle / "pidfile"),
        "--conmon-pidfile",
        str(monitor_file(launch.bundle)),
    ]
    argv += ["--persist-dir", str(launch.bundle), "--full-attach", "--no-sync-log", "--log-level", "error"]
    argv += ["--log-path", f"{_LOG}{launch.log_path}" if launch.log_path else "none"]
    for argument in runtime.global_arguments:
        argv += ["--runtime-arg", argument]
    argv += ["--terminal"] if launch.tty else []
    argv += ["--stdin"] if launch.stdin else []
    argv += ["--leave-stdin-open"] if launch.stdin and not launch.stdin_once else []
    if launch.images:
        argv += ["--restore", str(launch.images)]
        argv += ["--runtime-opt", "--tcp-established", "--runtime-opt", "--file-locks"]
    return argv


def _short_directory(bundle: Path) -> str:
    """conmon's TMPDIR, where it makes the console socket: a socket's path may have at most 107 bytes (unix(7))."""
    private = bundle.parent
    return str(private) if len(str(private)) < 80 else "/tmp"


async def _first_line(receive: int, launch: Launch, timeout: float) -> bytes:
    """conmon's report after create, one line of JSON. At the timeout conmon and create are killed."""
    reader = asyncio.StreamReader(limit=_LONGEST_REPORT)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(receive, "rb", 0)
    )
    try:
        async with asyncio.timeout(timeout):
            return await reader.readline()
    except ValueError:
        await executors.processes(kill_monitor, launch.bundle)
        raise CrishimError(
            Kind.INTERNAL,
            f"conmon's report of container {launch.container_id[:13]} is larger than {_LONGEST_REPORT} bytes",
        ) from None
    except TimeoutError:
        await executors.processes(kill_monitor, launch.bundle)
        raise CrishimError(
            Kind.DEADLINE, f"container {launch.container_id[:13]} could not be created within {timeout:g} s"
        ) from None
    finally:
        transport.close()


def _references(launch: Launch, line: bytes) -> tuple[ProcessRef | None, ProcessRef | None]:
    try:
        report = msgspec.json.decode(line or b"{}")
    except NOT_JSON:
        report = {}
    pid = report.get("data", -1)  # "pid" before API version 1
    if pid <= 0:
        message = error_message(str(report.get("message") or "").encode()) or "the runtime said nothing"
        kind = classify(message)
        command = _command(launch.bundle) if kind is Kind.INVALID else ""  # crun does not always name it
        named = message if command in message else f"{command}: {message}"
        what = "restored" if launch.images else "created"
        raise CrishimError(kind, f"container {launch.container_id[:13]} cannot be {what}: {named}", stderr=message)
    return processes.reference(pid), processes.reference(int(monitor_file(launch.bundle).read_text()))


def _command(bundle: Path) -> str:
    """The program of a bundle's config.json."""
    args = msgspec.json.decode((bundle / "config.json").read_bytes())["process"]["args"]
    return str(args[0])


def monitor_file(bundle: Path) -> Path:
    return bundle / "conmon.pid"


def find_monitor(bundle: Path, running: Mapping[Path, ProcessRef] | None = None) -> ProcessRef | None:
    """The running conmon of a bundle, by its pid file, or among running() if that is missing or wrong."""
    pid = _number(monitor_file(bundle)) or 0
    reference = processes.reference(pid) if pid > 0 else None
    mark = os.fsencode(monitor_file(bundle))  # one of its arguments
    if reference and mark in process_trees.command_line(pid) and processes.is_alive(reference):
        return reference
    return (running or {}).get(bundle)


def running() -> dict[Path, ProcessRef]:
    """All running conmons, by bundle. Blocks: reads /proc of all processes.

    Without processes in other PID namespaces: a pod can give its processes any arguments.
    """
    found = {}
    for pid, command in process_trees.command_lines().items():
        files = [Path(os.fsdecode(word)) for word in command if word.endswith(b"/conmon.pid")]
        reference = processes.reference(pid) if files else None
        with contextlib.suppress(OSError):
            if reference and os.path.samefile(f"/proc/{pid}/ns/pid", "/proc/self/ns/pid"):  # noqa: PTH121
                found[files[0].parent] = reference
    return found


def find_process(bundle: Path, monitor: ProcessRef | None) -> ProcessRef | None:
    """The container's first process, a child of conmon; None if it has exited. Blocks."""
    if monitor is None:
        return None
    noted = _number(bundle / "pidfile") or 0
    below = process_trees.children(monitor.pid)
    pid = noted if noted in below else min(below, default=0)
    return processes.reference(pid) if pid else None


def log_path(monitor: ProcessRef) -> str:
    """The log path of a running conmon; "" for none."""
    paths = [word for word in process_trees.command_line(monitor.pid) if word.startswith(_LOG.encode())]
    return os.fsdecode(paths[0]).removeprefix(_LOG) if paths else ""


def launched(bundle: Path) -> Launched | None:
    """The monitor and process that an interrupted create or restore has left; None without both. Blocks."""
    monitor = find_monitor(bundle)
    process = find_process(bundle, monitor) if (bundle / "pidfile").exists() else None
    return Launched(process, monitor) if process and monitor else None


def kill_monitor(bundle: Path, *, search: bool = False) -> None:
    """Kill the conmon of a bundle, if any, with the runtime it runs and the container. Blocks.

    search: look through all processes if there is no pid file: a call killed early may have left a conmon without one.
    """
    monitor = find_monitor(bundle)
    if monitor is None and search:
        monitor = running().get(bundle)
    if monitor is None:
        return
    process_trees.kill_below(monitor)
    processes.send_signal(monitor, signal.SIGKILL)


def _number(path: Path) -> int | None:
    """The number in a small file; None if it is missing or damaged."""
    try:
        return int(record_files.read(path, 32))
    except (UnreadableError, ValueError):
        return None


def exit_record(bundle: Path) -> tuple[int, int] | None:
    """(exit code, time in ns since the epoch) of an exited container; None until conmon has written its exit file."""
    code = _number(bundle / "exit")
    return None if code is None or not -(1 << 31) <= code < 1 << 31 else (code, (bundle / "exit").lstat().st_mtime_ns)


def was_oom_killed(bundle: Path) -> bool:
    return (bundle / "oom").exists()


def _unread(fifo: int) -> int:
    """How many bytes in a FIFO its reader has not read yet."""
    found = array("i", [0])
    fcntl.ioctl(fifo, termios.FIONREAD, found)
    return found[0]


def reopen_log(bundle: Path, *, again: bool = False) -> None:
    """Have conmon reopen its log. again: do nothing if an unread message is in the FIFO, an earlier daemon's.

    Raises PRECONDITION if there is no conmon.
    """
    try:
        fd = os.open(bundle / "ctl", os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        raise CrishimError(Kind.PRECONDITION, f"the container has no monitor: {error.strerror}") from error
    try:
        if not (again and _unread(fd)):
            os.write(fd, _REOPEN_LOGS)
    finally:
        os.close(fd)
