"""Kills a process with everything it started, from outside its namespaces. proc(5), pidfd_send_signal(2).

Members are its descendants and the processes of its session, which includes children of a parent that has ended. A
process that left both (a daemon that forked twice and called setsid) is left to the container.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from crishim.linux.processes import is_alive, send_signal
from crishim.model import ProcessRef

GONE_TIMEOUT = 5.0  # seconds for killed processes to be gone; SIGKILL may have to wait for a page to be written
STEP = 0.005


class ProcessEntry(NamedTuple):
    process: ProcessRef
    parent: int
    session: int


def _entry(pid: int | str) -> ProcessEntry | None:
    """A process as in /proc; None for one that is gone, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123  a Path costs more than the read
            stat = file.read(4096).rpartition(b") ")[2].split()
    except OSError:
        return None
    if len(stat) < 20 or stat[0] in (b"Z", b"X"):
        return None
    return ProcessEntry(ProcessRef(pid=int(pid), start_time=int(stat[19])), int(stat[1]), int(stat[3]))


class _Table:
    """All processes, read once for all concurrent callers: a thousand sessions may end at once.

    Dropped after the last caller: kept entries would pin the memory allocated around them.
    """

    def __init__(self) -> None:
        self._reading, self._counting = threading.Lock(), threading.Lock()
        self._begun = self._callers = 0
        self._entries: list[ProcessEntry] = []

    def read(self) -> list[ProcessEntry]:
        """The processes as read after the call began."""
        with self._counting:
            wanted = self._begun + 1
            self._callers += 1
        try:
            with self._reading:
                if self._begun < wanted:
                    self._begun += 1
                    found = (_entry(d.name) for d in Path("/proc").iterdir() if d.name.isdigit())
                    self._entries = [entry for entry in found if entry is not None]
                return self._entries
        finally:
            with self._counting:
                self._callers -= 1
                if not self._callers:
                    self._entries = []


_table = _Table()


def members(root: int, sessions: Iterable[int]) -> set[ProcessRef]:
    """The living processes that descend from the process `root`, itself included, or belong to one of the sessions."""
    entries, wanted = _table.read(), set(sessions)
    inside = {root}
    grown = True
    while grown:
        new = {e.process.pid for e in entries if e.parent in inside or e.session in wanted} - inside
        inside |= new
        grown = bool(new)
    return {e.process for e in entries if e.process.pid in inside}


def _descendants(root: int) -> set[ProcessRef]:
    """The living processes that descend from `root`, itself included; reads these only."""
    found, left = set(), [root]
    while left:
        pid = left.pop()
        entry = _entry(pid)
        if entry is not None and entry.process not in found:
            found.add(entry.process)
            left += children(pid)
    return found


def kill_below(root: ProcessRef, sessions: Iterable[int] = ()) -> None:
    """Stop, then kill, all members but the process `root`, and wait until they are gone. Blocks: for a thread.

    They are stopped first, since a running process may fork a child between the search and the kill. `root` is stopped
    meanwhile and then continued, to reap its children, which nothing else may do for a while. Without children it is
    killed itself, before it has some. The caller makes sure that the pids of the sessions' leaders are not reused, for
    instance by not reaping them.
    """
    found: set[ProcessRef] = set()
    searches: tuple[Callable[[], set[ProcessRef]], ...] = (
        lambda: _descendants(root.pid),  # cheap, and nearly always complete
        lambda: members(root.pid, sessions),
    )
    for search in searches:
        while new := search() - found:
            for process in new:
                send_signal(process, signal.SIGSTOP)
            found |= new
    found.discard(root)
    for process in found:
        send_signal(process, signal.SIGKILL)
    send_signal(root, signal.SIGCONT if found else signal.SIGKILL)
    deadline = time.monotonic() + GONE_TIMEOUT
    while any(is_alive(p) for p in found) and time.monotonic() < deadline:
        time.sleep(STEP)


def parent(pid: int) -> int | None:
    """The parent of a process; None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return int(stat.rpartition(b") ")[2].split()[1])


def children(pid: int) -> set[int]:
    """The pids of a process's children, zombies included (proc_pid_task(5), children); none if it is gone."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return set()
    found: set[int] = set()
    for thread in threads:
        try:
            found |= {int(word) for word in (thread / "children").read_text().split()}
        except OSError:
            continue
    return found


def command_line(pid: int) -> list[bytes]:
    """The arguments of a process; none if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return []


def command_lines() -> dict[int, list[bytes]]:
    """The arguments of every process we may see; kernel threads have none."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            found[int(directory.name)] = (directory / "cmdline").read_bytes().split(b"\0")[:-1]
        except OSError:
            continue
    return found
