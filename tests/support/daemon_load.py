"""What a daemon takes and how fast it answers while clients do their worst."""

import threading
import time
from pathlib import Path

from tests.support.daemon import Daemon


class Watch:
    """Asks for Status over and over while something goes on. slowest: seconds the slowest answer took."""

    def __init__(self, daemon: Daemon) -> None:
        self.slowest = 0.0
        self.answers = 0
        self._daemon = daemon
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.is_set():
            started = time.monotonic()
            try:
                self._daemon.call("Status", deadline=60)
                self.answers += 1
            finally:
                self.slowest = max(self.slowest, time.monotonic() - started)
            self._over.wait(0.05)


def resident(daemon: Daemon) -> int:
    """Bytes of memory the daemon has."""
    assert daemon.process is not None
    return int(Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1]) * 4096


def descriptors(daemon: Daemon) -> int:
    assert daemon.process is not None
    return len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))
