"""conmon's command line, reports and files, with a conmon that is a small script."""

import contextlib
import itertools
import os
import select
import subprocess
from pathlib import Path

import pytest

from crishim.engine import conmon
from crishim.engine.conmon import Launch
from crishim.engine.runtime import Runtime
from crishim.errors import CrishimError, Kind

ID = "c" * 64


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    bundle = tmp_path / "containers" / ID
    bundle.mkdir(parents=True)
    (bundle / "config.json").write_text('{"process": {"args": ["x"]}}')
    return Launch(ID, bundle, "/logs/c.log")


def runtime(tmp_path: Path, timeout: float = 5) -> Runtime:
    return Runtime("fake", "/bin/fake", tmp_path / "root", timeout=timeout)


def script(tmp_path: Path, text: str) -> str:
    path = tmp_path / "conmon"
    path.write_text("#!/bin/sh\n" + text + "\n")
    path.chmod(0o755)
    return str(path)


def options(launch: Launch, tmp_path: Path) -> list[str]:
    return conmon._arguments("/bin/conmon", runtime(tmp_path), launch)


def test_arguments(launch: Launch, tmp_path: Path) -> None:
    """Everything it keeps lies in the bundle; the runtime's own options are handed on one by one."""
    argv = options(launch, tmp_path)
    assert argv[0] == "/bin/conmon"
    pairs = dict(itertools.pairwise(argv))
    assert pairs["--cid"] == pairs["--cuuid"] == ID
    assert pairs["--bundle"] == pairs["--persist-dir"] == str(launch.bundle)
    assert pairs["--container-pidfile"] == f"{launch.bundle}/pidfile"
    assert pairs["--log-path"] == "k8s-file:/logs/c.log"
    assert pairs["--runtime-arg"] == f"--root={tmp_path}/root"
    assert not {"--terminal", "--stdin", "--leave-stdin-open"} & set(argv)


@pytest.mark.parametrize(
    ("tty", "stdin", "once", "given"),
    [
        (True, False, False, {"--terminal"}),
        (False, True, False, {"--stdin", "--leave-stdin-open"}),
        (False, True, True, {"--stdin"}),
        (True, True, False, {"--terminal", "--stdin", "--leave-stdin-open"}),
    ],
)
def test_terminals_and_input(tmp_path: Path, tty: bool, stdin: bool, once: bool, given: set[str]) -> None:
    """stdin stays open for the next client unless stdin_once."""
    argv = options(Launch(ID, tmp_path, "", tty=tty, stdin=stdin, stdin_once=once), tmp_path)
    assert {"--terminal", "--stdin", "--leave-stdin-open"} & set(argv) == given
    assert argv[argv.index("--log-path") + 1] == "none"


REPORT = """echo '{"data": %d}' > /proc/$$/fd/$_OCI_SYNCPIPE; echo %d > conmon.pid"""


async def test_create(launch: Launch, tmp_path: Path) -> None:
    """The pids it reports, as references that survive a reuse of the number."""
    program = script(tmp_path, REPORT % (os.getpid(), os.getpid()))
    launched = await conmon.create(program, runtime(tmp_path), launch)
    assert launched.process.pid == launched.monitor.pid == os.getpid()
    assert launched.process.start_time > 0


@pytest.mark.parametrize(
    ("report", "kind", "text"),
    [
        (
            '{"data": -1, "message": "exec: \\"x\\": executable file not found"}',
            Kind.INVALID,
            "executable file not found",
        ),
        ('{"data": -1, "message": "two\\nlines"}', Kind.INTERNAL, "two lines"),
        ('{"data": -1}', Kind.INTERNAL, "the runtime said nothing"),
        ("not json", Kind.INTERNAL, "the runtime said nothing"),
        ("", Kind.INTERNAL, "the runtime said nothing"),
    ],
)
async def test_create_fails(launch: Launch, tmp_path: Path, report: str, kind: Kind, text: str) -> None:
    """With the runtime's words."""
    program = script(tmp_path, f"cat > /proc/$$/fd/$_OCI_SYNCPIPE <<'END'\n{report}\nEND")
    with pytest.raises(CrishimError) as caught:
        await conmon.create(program, runtime(tmp_path), launch)
    assert caught.value.kind is kind
    assert caught.value.message.startswith(f"container {'c' * 13} cannot be created: ")
    assert text in caught.value.message


async def test_a_process_that_is_gone_already(launch: Launch, tmp_path: Path) -> None:
    """It ended while it was being created."""
    with pytest.raises(CrishimError, match="ended while it was being created"):
        await conmon.create(script(tmp_path, REPORT % (2**22 + 1, os.getpid())), runtime(tmp_path), launch)


async def test_create_hangs(launch: Launch, tmp_path: Path) -> None:
    """At the timeout the conmon of this bundle is killed."""
    (launch.bundle / "x").touch()
    program = script(
        tmp_path, f"sh -c 'echo $$ > conmon.pid; exec tail -f {launch.bundle}/conmon.pid' >/dev/null 2>&1 &"
    )
    with pytest.raises(CrishimError) as caught:
        await conmon.create(program, runtime(tmp_path, 0.3), launch)
    assert caught.value.kind is Kind.DEADLINE
    pid = int((launch.bundle / "conmon.pid").read_text())
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        assert select.select([process], [], [], 5)[0], "it is not killed"
        os.close(process)


def test_only_a_conmon_of_ours_is_killed(launch: Launch) -> None:
    """A pid that is somebody else's by now is let be; no file, no harm."""
    conmon.kill_monitor(launch.bundle)
    with subprocess.Popen(["sleep", "60"]) as other:
        conmon.monitor_file(launch.bundle).write_text(str(other.pid))
        conmon.kill_monitor(launch.bundle)
        assert other.poll() is None
        other.kill()
    conmon.monitor_file(launch.bundle).write_text("no number")
    conmon.kill_monitor(launch.bundle)


def test_exit_files(tmp_path: Path) -> None:
    """Code and time; nothing while there is none, or it is half written."""
    assert conmon.exit_record(tmp_path) is None
    (tmp_path / "exit").write_text("")
    assert conmon.exit_record(tmp_path) is None
    (tmp_path / "exit").write_text("137")
    os.utime(tmp_path / "exit", ns=(5, 7_000_000_001))
    assert conmon.exit_record(tmp_path) == (137, 7_000_000_001)
    assert not conmon.was_oom_killed(tmp_path)
    (tmp_path / "oom").touch()
    assert conmon.was_oom_killed(tmp_path)


def test_reopening_logs(tmp_path: Path) -> None:
    """A line on its fifo; PRECONDITION if nobody reads there."""
    with pytest.raises(CrishimError, match="has no monitor") as caught:
        conmon.reopen_log(tmp_path)
    assert caught.value.kind is Kind.PRECONDITION
    os.mkfifo(tmp_path / "ctl")
    with pytest.raises(CrishimError, match="has no monitor"):
        conmon.reopen_log(tmp_path)
    reader = os.open(tmp_path / "ctl", os.O_RDONLY | os.O_NONBLOCK)
    try:
        conmon.reopen_log(tmp_path)
        conmon.reopen_log(tmp_path, again=True)  # it has yet to read the first
        assert os.read(reader, 100) == b"2 0 0\n"
        conmon.reopen_log(tmp_path, again=True)
        assert os.read(reader, 100) == b"2 0 0\n"
    finally:
        os.close(reader)


async def test_a_report_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """conmon's one line is bounded; what is larger is an error and not a broken reader."""
    monkeypatch.setattr(conmon, "_LONGEST_REPORT", 1000)
    receive, send = os.pipe()
    os.write(send, b"x" * 3000)
    os.close(send)
    with pytest.raises(CrishimError, match="larger than 1000 bytes"):
        await conmon._first_line(receive, conmon.Launch("c" * 64, tmp_path, ""), 30)
