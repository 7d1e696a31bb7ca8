"""crishim/linux/process_trees.py and pidfds.py, on processes of our own."""

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from crishim.linux import pidfds, process_trees
from crishim.linux.processes import is_alive, reference

Shell = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def shell() -> Iterator[Shell]:
    """Starts shells in sessions of their own; kills those that are left."""
    started = []

    def start(script: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def wait_for(holds: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def commands(*words: str) -> set[int]:
    """Processes with one of these arguments."""
    return {pid for pid, argv in process_trees.command_lines().items() if {os.fsdecode(a) for a in argv} & {*words}}


def test_everything_below_is_killed_and_the_root_reaps(shell: Shell) -> None:
    """Children, grandchildren and orphans of the session are gone; the root goes on and sees its child's end."""
    root = shell("exec 2>&-; (sleep 611.1 & sleep 611.2 & sh -c 'sleep 611.3; true'); kill -l $?")
    marks = ("611.1", "611.2", "611.3")
    wait_for(lambda: len(commands(*marks)) >= 3)
    process = reference(root.pid)
    assert process is not None
    process_trees.kill_below(process, [root.pid])
    assert commands(*marks) == set()
    assert root.stdout
    assert root.stdout.read().strip() == b"KILL"


def test_a_child_that_changed_its_session_is_still_below(shell: Shell) -> None:
    """setsid alone does not get away: it is found by its parent."""
    root = shell("setsid sleep 612.1 & setsid -f sleep 612.2; wait")
    wait_for(lambda: len(commands("612.1", "612.2")) == 2)
    process = reference(root.pid)
    assert process is not None
    process_trees.kill_below(process, [root.pid])
    left = commands("612.1", "612.2")
    assert len(left) <= 1  # a daemon, orphaned and in its own session, is nobody's
    for pid in left:
        os.kill(pid, signal.SIGKILL)


def test_a_root_without_children_is_killed(shell: Shell) -> None:
    """Otherwise it could start one the next moment."""
    root = shell("exec sleep 613")
    process = reference(root.pid)
    assert process is not None
    process_trees.kill_below(process)
    assert root.wait() == -signal.SIGKILL


def test_parent_and_children(shell: Shell) -> None:
    """Both directions, and nothing for a process that is gone."""
    root = shell("sleep 614 & wait")
    wait_for(lambda: process_trees.children(root.pid))
    (child,) = process_trees.children(root.pid)
    assert process_trees.parent(child) == root.pid
    os.kill(child, signal.SIGKILL)
    root.wait()
    assert process_trees.children(root.pid) == set()
    assert process_trees.parent(root.pid) is None


async def test_a_pidfd_tells_the_end_and_the_code(shell: Shell) -> None:
    """The future is done when the process ends; the code is known once somebody has reaped it, on kernels that tell."""
    for script, expected in (("sleep 0.1; exit 7", 7), ("sleep 0.1; kill -9 $$", 137)):
        process = shell(script)
        fd = os.pidfd_open(process.pid)
        assert pidfds.exit_code(fd) is None
        with pidfds.watched(fd) as ended:
            async with asyncio.timeout(10):
                await ended
        process.wait()
        assert pidfds.exit_code(fd) in (expected, None)
        release = tuple(int(n) for n in os.uname().release.split("-")[0].split(".")[:2])
        assert release < (6, 15) or pidfds.exit_code(fd) == expected
        os.close(fd)


def test_stopped_is_alive_and_killed_is_not(shell: Shell) -> None:
    """What kill_below waits for."""
    root = shell("exec sleep 615")
    process = reference(root.pid)
    assert process is not None
    root.send_signal(signal.SIGSTOP)
    assert is_alive(process)
    root.kill()
    root.wait()
    assert not is_alive(process)


def test_many_ends_at_once_share_a_look_at_all_processes(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sees a moment after it asked; a thousand sessions that end together do not read /proc a thousand times."""
    read, looks = process_trees._entry, []
    first, go = threading.Event(), threading.Event()

    def entry(pid: int | str) -> process_trees.ProcessEntry | None:
        if str(pid) == "1":
            looks.append(pid)
            first.set()
            go.wait(10)
        return read(pid)

    monkeypatch.setattr(process_trees, "_entry", entry)
    with ThreadPoolExecutor(8) as pool:
        early = pool.submit(process_trees.members, os.getpid(), ())
        first.wait(10)
        late = shell("sleep 614.1")
        asked = [pool.submit(process_trees.members, late.pid, ()) for _ in range(7)]
        wait_for(lambda: pool._work_queue.empty())
        go.set()
        assert all(late.pid in {p.pid for p in each.result()} for each in asked)
        assert early.result()
    assert len(looks) <= 3


def test_no_look_is_kept_when_nobody_asks(shell: Shell) -> None:
    """Of many that ask at once each gets the processes, and afterwards there is no list of them any more."""
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: process_trees.members(os.getpid(), ()), range(32)))
    assert all(reference(os.getpid()) in each for each in found)
    assert process_trees._table._entries == []
