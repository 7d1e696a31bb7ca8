"""Programs that must not outlive the process that started them."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crishim.errors import CrishimError, Kind
from crishim.linux import programs


def test_dies_with_its_parent() -> None:
    """A program that runs when its parent is killed is killed too."""
    script = "import subprocess, sys; from crishim.linux import programs\n"
    script += "argv = programs.with_parent_death_signal(['sh', '-c', 'echo $$; exec sleep 1000'])\n"
    script += "subprocess.Popen(argv).wait()"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        assert not select.select([child], [], [], 0)[0]
        parent.kill()
        ended = select.select([child], [], [], 10)[0]
        os.close(child)
    assert ended


def test_an_orphan_does_not_start(tmp_path: Path) -> None:
    """A program whose parent died before it could ask for the signal does nothing at all."""
    trace = tmp_path / "trace"
    orphan = programs.with_parent_death_signal(["touch", str(trace)], parent=os.getppid())
    assert subprocess.run(orphan, check=False).returncode == 1
    assert not trace.exists()
    subprocess.run(programs.with_parent_death_signal(["touch", str(trace)]), check=True)
    assert trace.exists()


async def test_bound_arguments_pass_unchanged() -> None:
    """What the program is given and what it answers is as without the binding."""
    words = ["a b", "$HOME", "'\"", "", "-x", "*"]
    done = await programs.run(programs.with_parent_death_signal(["printf", "[%s]", *words]), timeout=10)
    assert done.stdout.decode() == "".join(f"[{word}]" for word in words)
    missing = await programs.run(programs.with_parent_death_signal(["no-such-program"]), timeout=10, check=False)
    assert missing.returncode == 127


async def test_deadline_kills_the_group() -> None:
    """A program over its time is killed with its children, and the error names it."""
    with pytest.raises(CrishimError, match=r"setpriv did not finish within 0\.2 s") as caught:
        await programs.run(programs.with_parent_death_signal(["sh", "-c", "sleep 1000 & wait"]), timeout=0.2)
    assert caught.value.kind is Kind.DEADLINE


@pytest.mark.parametrize("run", ["run", "run_detaching"])
async def test_a_program_that_outlives_its_kill_is_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: str
) -> None:
    """Frozen, or in a system call that does not end: the caller goes on, and it is reaped when it does end."""
    killed: list[int] = []
    log = tmp_path / "log"
    monkeypatch.setattr(os, "killpg", lambda pid, number: killed.append(pid))
    monkeypatch.setattr(asyncio.subprocess.Process, "kill", lambda process: None)
    monkeypatch.setattr(programs, "REAPING", 0.05)
    argv = ["sleep", "1000"]
    call = programs.run(argv, timeout=0.1) if run == "run" else programs.run_detaching(argv, log=log, timeout=0.1)
    with pytest.raises(CrishimError, match="was killed, but is not gone") as caught:
        await call
    assert caught.value.kind is Kind.DEADLINE
    os.kill(killed[0], signal.SIGKILL)
    async with asyncio.timeout(30):
        while programs._surviving:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    with pytest.raises(ProcessLookupError):
        os.kill(killed[0], 0)


async def test_a_killed_program_leaves_no_pipe() -> None:
    """What it has printed and nobody reads any more does not keep the pipe open."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(CrishimError):
        await programs.run(["sh", "-c", "sleep 5 & head -c 30000000 /dev/zero; sleep 5"], timeout=10)
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_what_a_program_prints_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that prints without end is killed; of complaints the end is kept."""
    monkeypatch.setattr(programs, "MAX_STDOUT", 1 << 20)
    with pytest.raises(CrishimError, match="cat printed more than 1 MiB") as caught:
        await programs.run(["cat", "/dev/zero"], timeout=30)
    assert caught.value.kind is Kind.INTERNAL
    noisy = "i=0; while [ $i -lt 20000 ]; do echo line $i >&2; i=$((i+1)); done; exit 3"
    done = await programs.run(["sh", "-c", noisy], timeout=60, check=False)
    assert len(done.stderr) == programs.KEPT_STDERR
    assert done.stderr.endswith(b"line 19999\n")
    assert done.returncode == 3


async def test_input_that_is_not_wanted_is_no_error() -> None:
    """A program that closes its input, or ends without reading it."""
    done = await programs.run(["true"], stdin=b"x" * (1 << 20), timeout=30)
    assert done.returncode == 0
    done = await programs.run(["head", "-c", "3"], stdin=b"abc" * 100_000, timeout=30)
    assert done.stdout == b"abc"


async def test_a_cancelled_caller_leaves_no_program(tmp_path: Path) -> None:
    pids: list[int] = []
    task = asyncio.create_task(programs.run(["sleep", "1000"], timeout=100, started=pids.append))
    while not pids:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
