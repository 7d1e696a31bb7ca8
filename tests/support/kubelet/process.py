"""One kubelet in standalone mode: its configuration, its process, and the end of it."""

import os
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.support.daemon import eventually, test_program
from tests.support.kubelet.host import ADDRESS, hide_sysctls
from tests.support.kubelet.place import HERE, NAME, Place

__all__ = ["NAME", "PORT", "Kubelet", "request"]
PORT = 10250
_SHIPPED = Path(__file__).parents[3] / "packaging/kubelet.yaml"


def settings(directory: Path, socket: Path, cgroup: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The shipped configuration on scratch directories; short periods; anyone on loopback may ask."""
    shipped = yaml.safe_load(_SHIPPED.read_text())
    ours: dict[str, Any] = {
        "containerRuntimeEndpoint": f"unix://{socket}",
        "staticPodPath": str(directory / "manifests"),
        "podLogsDir": str(directory / "pod-logs"),
        "volumePluginDir": str(directory / "volume-plugins"),
        "resolvConf": str(directory / "resolv.conf"),
        "cgroupRoot": cgroup,
        "address": "127.0.0.1",
        "port": PORT,
        "healthzPort": 0,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "oomScoreAdj": 0,  # less needs CAP_SYS_RESOURCE
        "clusterDomain": "cluster.local",
        "clusterDNS": ["10.96.0.10"],
        "allowedUnsafeSysctls": ["net.core.somaxconn", "kernel.msg*"],
        "evictionHard": {"memory.available": "50Mi"},
        "crashLoopBackOff": {"maxContainerRestartPeriod": "2s"},
        "containerLogMaxSize": "64Ki",
        "containerLogMaxFiles": 12,
        "containerLogMonitorInterval": "3s",
        "syncFrequency": "10s",
        "logging": {"verbosity": 3},  # from 3 on it logs the events nobody else would see
    }
    gates = {**shipped["featureGates"], **changes.get("featureGates", {})}
    return {**shipped, **ours, **changes, "featureGates": gates}


class Kubelet:
    """Its directories outlive stop() and kill(), so that start() is a restart."""

    def __init__(
        self, directory: Path, socket: Path, cgroup: str, changes: dict[str, Any], place: Place = HERE
    ) -> None:
        self.directory, self.place = directory, place
        self.manifests = directory / "manifests"
        self.pod_logs = directory / "pod-logs"
        self.root = directory / "kubelet"
        self.log = directory / "kubelet.log"
        self.config = directory / "kubelet.yaml"
        for path in (self.manifests, self.pod_logs, self.root):
            path.mkdir(mode=0o755)
        (directory / "resolv.conf").write_text(f"nameserver {ADDRESS}\nsearch example.test\noptions ndots:2\n")
        self._socket, self._cgroup = socket, cgroup
        self.arguments: list[str] = []  # more of them: --kubeconfig of a node that joins a cluster
        self.configure(changes)
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, changes: dict[str, Any]) -> None:
        """Write the configuration; it counts from the next start."""
        self.config.write_text(yaml.safe_dump(settings(self.directory, self._socket, self._cgroup, changes)))

    def start(self) -> None:
        """Start and wait until it says it is healthy."""
        command = [
            *self.place.inside,
            *hide_sysctls(self.directory),
            test_program("kubelet"),
            f"--config={self.config}",
            f"--root-dir={self.root}",
        ]
        command += [f"--cert-dir={self.root}/pki", f"--hostname-override={self.place.name}"]
        command += [f"--node-ip={self.place.address}", *self.arguments]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.directory, start_new_session=True
            )
        eventually(self.healthy, f"the kubelet is healthy, see {self.log}", timeout=60)

    def healthy(self) -> bool:
        assert self.process is None or self.process.poll() is None, f"the kubelet ended: {self.tail()}"
        try:
            return bool(request("/healthz", address=self.place.reached).strip() == b"ok")
        except OSError:
            return False

    def end(self, number: int) -> None:
        """Send a signal and wait for the end; pods keep running."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)
            self.process.wait(30)

    def stop(self) -> None:
        self.end(signal.SIGTERM)

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def tail(self, size: int = 3000) -> str:
        return self.log.read_bytes()[-size:].decode(errors="replace")

    def logged(self, *words: str) -> list[str]:
        """The lines of its log that have all these words."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if all(word in line for word in words)]


def request(
    path: str, method: str = "GET", body: bytes | None = None, timeout: float = 30.0, address: str = "127.0.0.1"
) -> bytes:
    """The answer of the kubelet's HTTPS port. Its certificate is one it made and signed itself."""
    context = ssl._create_unverified_context()
    asked = urllib.request.Request(f"https://{address}:{PORT}{path}", method=method, data=body)
    try:
        with urllib.request.urlopen(asked, context=context, timeout=timeout) as answer:
            data: bytes = answer.read()
            return data
    except urllib.error.HTTPError as error:
        raise OSError(f"{path}: {error.code} {error.read().decode(errors='replace')[:500]}") from None
