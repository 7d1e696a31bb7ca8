"""A cluster of one node: a control plane, and a node that joined it."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.daemon import eventually, test_program
from tests.support.isolation import remove_link
from tests.support.kubelet import host
from tests.support.kubelet.control_plane import ControlPlane, patiently
from tests.support.kubelet.node import Node, new_directory
from tests.support.kubelet.process import NAME
from tests.support.residue import BRIDGE

_DRA = Path(__file__).parents[3] / "hack/dra"


class Cluster(Node):
    def __init__(self, directory: Path, **settings: Any) -> None:
        super().__init__(directory, **settings)
        self.control = ControlPlane(directory / "control-plane")
        self.kubectl = self.control.kubectl
        self.driver: subprocess.Popen[bytes] | None = None
        self.kubelet.arguments = [f"--kubeconfig={self.control.kubeconfig('kubelet')}"]
        self.kubelet.configure({"address": "0.0.0.0"})

    def start(self) -> None:
        self.control.start()
        super().start()
        patiently(self.joined, "the node is Ready", 180)
        patiently(lambda: "default" in self.kubectl("get", "serviceaccounts", "-o", "name"), "service accounts", 120)

    def joined(self) -> bool:
        path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
        return self.kubectl("get", "node", NAME, "-o", path, check=False) == "True"

    def start_driver(self, pattern: str) -> None:
        """The example DRA driver, offering the links that match."""
        self.allow_driver(self.control.kubeconfig())
        command = [*self.driver_command(self.directory, pattern), "--period=0.5"]
        path = self.control.directory / "dra-driver.log"
        with path.open("ab") as log:
            self.driver = subprocess.Popen(command, stdout=log, stderr=log, cwd=_DRA.parents[1])
        before = path.stat().st_size

        def registered() -> bool:
            assert self.driver is not None
            said = path.read_bytes()[before:]
            assert self.driver.poll() is None, said[-2000:].decode()
            return b"registered True" in said

        eventually(registered, "the driver is registered", 120)

    @staticmethod
    def allow_driver(administrator: Path) -> None:
        """Give the driver's user its rights, and make its DeviceClass."""
        command = [test_program("kubectl"), f"--kubeconfig={administrator}", "apply", "-f", str(_DRA / "rbac.yaml")]
        subprocess.run(command, check=True, capture_output=True)

    @staticmethod
    def driver_command(directory: Path, pattern: str) -> list[str]:
        """How the driver is started for the cluster in a directory."""
        command = [sys.executable, "-m", "hack.dra.driver", f"--pattern={pattern}", f"--node={NAME}"]
        command += [f"--kubeconfig={directory}/control-plane/pki/dra-driver.kubeconfig"]
        return [*command, f"--kubelet-dir={directory}/kubelet", f"--cdi-dir={directory}/{directory.name}/cdi"]

    def stop_driver(self) -> None:
        if self.driver is not None and self.driver.poll() is None:
            self.driver.terminate()
            self.driver.wait(10)

    def delete(self) -> None:
        self.stop_driver()
        self.kubelet.kill()
        self.control.stop()
        super().delete()


@contextlib.contextmanager
def scratch_cluster(**settings: Any) -> Iterator[Cluster]:
    """A running cluster; everything of it is gone afterwards."""
    host.isolate_node()
    cluster = Cluster(new_directory(), **settings)
    try:
        cluster.start()
        yield cluster
    finally:
        if keep := os.environ.get("CRISHIM_KEEP_LOGS"):
            for log in (cluster.kubelet.log, cluster.daemon.log, *cluster.control.directory.glob("*.log")):
                with contextlib.suppress(FileNotFoundError):
                    shutil.copy(log, keep)
        cluster.delete()
        remove_link(BRIDGE)
