"""A cluster of one node: a control plane, and a node that joined it."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.isolation import remove_link
from tests.support.kubelet import host
from tests.support.kubelet.control_plane import ControlPlane, patiently
from tests.support.kubelet.driver import Driver
from tests.support.kubelet.node import Node, new_directory
from tests.support.kubelet.place import NAME
from tests.support.residue import BRIDGE


class Cluster(Node):
    def __init__(self, directory: Path, **settings: Any) -> None:
        super().__init__(directory, **settings)
        self.control = ControlPlane(directory / "control-plane")
        self.kubectl = self.control.kubectl
        self.driver = Driver(directory, self.control.directory)
        self.kubelet.arguments = [f"--kubeconfig={self.control.kubeconfig(f'kubelet-{NAME}')}"]
        self.kubelet.configure({"address": "0.0.0.0"})

    def start(self) -> None:
        self.control.start()
        super().start()
        patiently(self.joined, "the node is Ready", 180)
        self.control.wait_for_accounts()

    def joined(self) -> bool:
        return self.control.is_ready(NAME)

    def start_driver(self, pattern: str, *flags: str) -> None:
        """The example DRA driver, offering the links that match."""
        self.driver.start(pattern, *flags)

    def stop_driver(self) -> None:
        self.driver.stop()

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
