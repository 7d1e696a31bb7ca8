"""`crishim info`, `top` and `events` beside a running daemon."""

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, eventually
from tests.support.pods import container_config, create, execute, remove_pod, run_pod

pytestmark = pytest.mark.node
ROOT = Path(__file__).parents[2]


@pytest.fixture
def follow(daemon: Daemon) -> Iterator[Callable[..., tuple["subprocess.Popen[str]", "queue.Queue[str]"]]]:
    """Start `crishim events`; its lines come in the queue. Ended at the end, if it has not."""
    made: list[subprocess.Popen[str]] = []
    readers: list[threading.Thread] = []

    def start(*arguments: str) -> tuple["subprocess.Popen[str]", "queue.Queue[str]"]:
        command = [sys.executable, "-m", "crishim", "events", *arguments, "--config", str(daemon.config)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        made.append(process)
        lines: queue.Queue[str] = queue.Queue()
        readers.append(threading.Thread(target=_collect, args=(process.stdout, lines)))
        readers[-1].start()
        return process, lines

    yield start
    for process in made:
        process.kill()
    for reader in readers:
        reader.join()
    for process in made:
        process.communicate()


def _collect(printed: Iterable[str], lines: "queue.Queue[str]") -> None:
    for line in printed:
        lines.put(line)


def until(lines: "queue.Queue[str]", wanted: Callable[[Any], bool]) -> list[Any]:
    """What is printed up to the first that is wanted."""
    seen: list[Any] = []
    while not seen or not wanted(seen[-1]):
        seen.append(json.loads(lines.get(timeout=20)))
    return seen


def test_events(daemon: Daemon, follow: Any) -> None:
    """A pod's and its container's life in order, with the exit code; Ctrl-C ends it well."""
    process, lines = follow("--json")
    eventually(lambda: _heard(daemon, lines), "it listens")  # what came before that passed it by
    pod = run_pod(daemon)
    container = create(daemon, pod, container_config(name="once", command=["sh", "-c", "exit 3"]))
    daemon.call("StartContainer", container_id=container)
    seen = until(lines, lambda e: e["id"] == container and e["event"] == "stopped")
    assert [e["event"] for e in seen if e["id"] == container] == ["created", "started", "stopped"]
    assert (seen[-1]["container"], seen[-1]["exit_code"], seen[-1]["reason"]) == ("once", 3, "Error")
    assert {e["kind"] for e in seen if e["id"] == pod} == {"pod"}
    remove_pod(daemon, pod)
    until(lines, lambda e: e["id"] == pod and e["event"] == "removed")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0


def _heard(daemon: Daemon, lines: "queue.Queue[str]") -> bool:
    remove_pod(daemon, run_pod(daemon))
    return not lines.empty()


def test_info_and_top(daemon: Daemon) -> None:
    """What there is, in words and as JSON."""
    pod = run_pod(daemon)
    container = create(daemon, pod, container_config(name="busy", command=["sleep", "1000"]))
    daemon.call("StartContainer", container_id=container)
    execute(daemon, container, "true")
    said = daemon.command("info").stdout
    assert [line.split()[0] for line in said.splitlines()[:4]] == ["socket", "version", "RuntimeReady", "NetworkReady"]
    facts = json.loads(daemon.command("info", "--json").stdout)[0]
    assert (facts["pods"], facts["containers"]) == ("1: 1 ready", "1: 1 running")
    assert "(default" in facts["handlers"]
    rows = [line.split() for line in daemon.command("top").stdout.splitlines()]
    assert ["busy", container[:13]] == rows[2][:2]
    assert rows[1][1] == pod[:13]
    used = json.loads(daemon.command("top", "--json").stdout)[0]
    assert used["containers"][0]["name"] == "busy"
    assert used["processes"] >= 1
    assert used["rx_bytes"] is not None
    remove_pod(daemon, pod)


def test_a_nonsensical_interval(daemon: Daemon) -> None:
    for interval in ("0", "-1", "nan", "soon"):
        done = daemon.command("top", "--interval", interval)
        assert (done.returncode, "--interval" in done.stderr) == (2, True)
