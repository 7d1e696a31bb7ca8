"""Processes by pidfd: a pid is a number that gets reused, a pidfd is the process. pidfd_open(2), proc_pid_stat(5)."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from crishim.model import ProcessRef


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks after boot (field 22 of stat); None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat.rpartition(b") ")[2].split()[19])


def reference(pid: int) -> ProcessRef | None:
    """A reference to a running process, valid also after a restart of the daemon; None if it is gone."""
    started = start_time(pid)
    return None if started is None else ProcessRef(pid=pid, start_time=started)


def open_pidfd(process: ProcessRef) -> int | None:
    """A pidfd of the process; None if it is gone or its pid is another process's by now."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    if start_time(process.pid) != process.start_time:
        os.close(fd)
        return None
    return fd


def is_alive(process: ProcessRef) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return int(stat[19]) == process.start_time and stat[0] not in (b"Z", b"X")


def send_signal(process: ProcessRef, number: int) -> bool:
    """Send a signal to exactly that process; False if it is gone."""
    fd = open_pidfd(process)
    if fd is None:
        return False
    try:
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


def with_environment(entry: bytes) -> list[ProcessRef]:
    """The processes started with this entry (b"NAME=value") in their environment. Blocks: reads all of /proc."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal():
            with contextlib.suppress(OSError):
                if entry in (directory / "environ").read_bytes().split(b"\0"):
                    found.append(reference(int(directory.name)))
    return [process for process in found if process is not None]


async def wait_gone(process: ProcessRef, timeout: float | None = None) -> bool:
    """Wait until the process has ended (zombies count as ended); False at the timeout in seconds."""
    fd = open_pidfd(process)
    if fd is None:
        return True
    loop = asyncio.get_running_loop()
    gone = loop.create_future()

    def readable() -> None:
        if not gone.done():
            gone.set_result(None)

    loop.add_reader(fd, readable)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await gone
        return gone.done() and not gone.cancelled()
    finally:
        loop.remove_reader(fd)
        os.close(fd)
