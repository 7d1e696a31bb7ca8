"""Go plugins (hack/tools/nri-plugin, over the upstream library) on a real daemon's NRI socket, with scenarios."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.daemon import Daemon, eventually
from tests.support.daemon import test_program as program


class GoPlugins:
    """Of one daemon. Their log is one file: what they were told, in order."""

    def __init__(self, daemon: Daemon, directory: Path) -> None:
        self.daemon = daemon
        self.directory = directory
        self.file = directory / "told"
        self.processes: list[subprocess.Popen[bytes]] = []

    def scenario(self, hooks: dict[str, Any], events: list[str] | None = None) -> str:
        return json.dumps({"log": str(self.file), "hooks": hooks, "events": events or []})

    def join(
        self, *flags: str, index: str = "10", name: str = "go", wait: bool = True, quiet: bool = False, **hooks: Any
    ) -> None:
        """Start a plugin; wait: until it is called; quiet: it logs nothing. hooks: what it does, by method."""
        scenario = self.directory / f"{index}-{name}.json"
        scenario.write_text("{}" if quiet else self.scenario(hooks))
        command = [program("nri-plugin"), "-index", index, "-name", name, "-scenario", str(scenario)]
        command += ["-socket", str(self.daemon.directory / "nri.sock"), *flags]
        with (self.directory / "output").open("ab") as output:
            self.processes.append(subprocess.Popen(command, stdout=output, stderr=output))
        if wait:
            self.ready(f"{index}-{name}")

    def ready(self, label: str) -> None:
        def is_called() -> bool:
            return any(f"{p['index']}-{p['name']}" == label and p["state"] == "ready" for p in self.listed())

        eventually(is_called, f"{label} is called")

    def listed(self) -> list[dict[str, Any]]:
        """`crishim nri list --json`."""
        done = self.daemon.command("nri", "list", "--json")
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def told(self, event: str = "") -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []
        return [line for line in lines if event in ("", line["event"])]

    def events(self, id: str = "") -> list[str]:
        """Names of the events about a pod or container; without an id of all but Configure and Synchronize."""
        found = []
        for line in self.told():
            about = line.get("container", line.get("pod", {})).get("id")
            if about is not None and id in ("", about):
                found.append(line["event"])
        return found

    def clear(self) -> None:
        self.file.unlink(missing_ok=True)

    def end(self) -> None:
        """Kill them, and wait until the daemon has noticed."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes.clear()
        if self.daemon.process is not None and self.daemon.process.poll() is None:
            gone = lambda: all(p["state"].startswith("closed") for p in self.listed())  # noqa: E731
            eventually(gone, "the plugins are gone")


@contextlib.contextmanager
def go_plugins(daemon: Daemon, directory: Path) -> Iterator[GoPlugins]:
    made = GoPlugins(daemon, directory)
    try:
        yield made
    finally:
        made.end()
