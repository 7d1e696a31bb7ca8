"""An NRI plugin that hangs: stopped, while pods are told to it."""

import os
import signal
from pathlib import Path

from hack.campaigns.causes import HUNG, Cause
from tests.support.daemon import Daemon
from tests.support.go_plugin import GoPlugins
from tests.support.pods import container_config, pod_config, run_pod, start


class StoppedNriPlugin(Cause):
    """It costs the callers that wait for it its time once, and is dropped."""

    title = "NRI plugin, stopped"
    _plugins: GoPlugins | None = None

    def prepare(self, daemon: Daemon) -> None:
        self._plugins = GoPlugins(daemon, self.directory)
        self._plugins.join(quiet=True)
        for pid in self.pids():
            os.kill(pid, signal.SIGSTOP)

    def hang(self, daemon: Daemon) -> None:
        self.pod = run_pod(daemon, pod_config(HUNG))
        start(daemon, self.pod, container_config(HUNG))

    def wait_hung(self, daemon: Daemon) -> None:
        (pid,) = self.pids()
        assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def release(self) -> None:
        if self._plugins is not None:
            self._plugins.end()

    def pids(self) -> list[int]:
        return [process.pid for process in self._plugins.processes] if self._plugins else []
