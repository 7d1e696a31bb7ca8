"""`crishim page` beside a daemon, and what a client sees of it."""

import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.daemon import Daemon
from tests.support.eventually import PATIENCE

ROOT = Path(__file__).parents[2]


class Page:
    """url: as the command prints it. process: the command."""

    def __init__(self, url: str, process: "subprocess.Popen[str]") -> None:
        self.url = url
        self.process = process
        self.host, self.path = str(urlsplit(url).netloc), str(urlsplit(url).path)

    def get(self, path: str = "", **headers: str) -> tuple[int, str]:
        """Status and body of a path below the page's; one that begins with a slash stands for itself."""
        connection = http.client.HTTPConnection(self.host, timeout=20 * PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", path if path.startswith("/") else f"{self.path}{path}", headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    @contextlib.contextmanager
    def following(self) -> Iterator[Callable[[str, Callable[[str], Any]], str]]:
        """Subscribe to its events: a function that waits until a part is as it is wanted, and returns it."""
        connection = http.client.HTTPConnection(self.host, timeout=20 * PATIENCE)
        parts: dict[str, str] = {}
        with contextlib.closing(connection):
            connection.request("GET", f"{self.path}events")
            answer = connection.getresponse()
            assert answer.getheader("Content-Type") == "text/event-stream"

            def until(name: str, wanted: Callable[[str], Any]) -> str:
                deadline = time.monotonic() + 20 * PATIENCE
                while not (name in parts and wanted(parts[name])):
                    line = answer.readline().decode()
                    assert line, "the stream has ended"
                    assert time.monotonic() < deadline, f"{name} did not come to be: {parts.get(name)}"
                    if line.startswith("data: "):
                        told = json.loads(line.removeprefix("data: "))
                        parts[told["name"]] = told["html"]
                return parts[name]

            yield until


@contextlib.contextmanager
def served_page(daemon: Daemon) -> Iterator[Page]:
    """The page of a daemon's node, on a free port of loopback; its process ends with Ctrl-C."""
    command = [sys.executable, "-m", "crishim", "page", "--config", str(daemon.config)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), process.communicate()[1]
        yield Page(url, process)
    finally:
        process.terminate()
        _, complaints = process.communicate(timeout=30 * PATIENCE)
    assert (process.returncode, complaints) == (0, "")
