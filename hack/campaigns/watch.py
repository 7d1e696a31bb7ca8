"""Status asked over and over, in a process of its own: a thousand clients in one Python would measure themselves."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc

from hack.campaigns.ground import ROOT
from tests.support.daemon import Daemon, invoke

EVERY = 0.05  # seconds


class Watch:
    """A context in which it is asked; afterwards `slowest` is the longest an answer took, in seconds."""

    def __init__(self, daemon: Daemon) -> None:
        self.slowest, self.answers = 0.0, 0
        self._socket = daemon.socket

    def __enter__(self) -> "Watch":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hack.campaigns.watch", str(self._socket)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"asking\n"
        return self

    def __exit__(self, *_: object) -> None:
        out, _error = self._process.communicate(timeout=120)
        if out:
            self.slowest, self.answers = json.loads(out)


def ask(socket: Path) -> None:
    """Ask until standard input ends; print the slowest answer's seconds and how many there were."""
    over = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    channel = grpc.insecure_channel(f"unix:{socket}")
    slowest, answers = 0.0, 0
    invoke(channel, "Status", None, 60, {})
    print("asking", flush=True)
    while not answers or not over.wait(EVERY):
        started = time.monotonic()
        invoke(channel, "Status", None, 60, {})
        slowest, answers = max(slowest, time.monotonic() - started), answers + 1
    print(json.dumps([slowest, answers]), flush=True)


if __name__ == "__main__":
    ask(Path(sys.argv[1]))
