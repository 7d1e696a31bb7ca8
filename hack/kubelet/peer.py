"""containerd in crishim's place on a test node: same network, OCI runtime, image, kubelet, scratch directory."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hack.peer import Peer
from tests.support.daemon import IMAGE, Daemon, test_program
from tests.support.kubelet.node import Node
from tests.support.kubelet.process import Kubelet
from tests.support.settings_toml import to_toml

PAUSE = "localhost/crishim/pause:latest"  # what containerd runs beside each pod's containers


def settings(daemon: Daemon, runtime: str) -> dict[str, Any]:
    """containerd's configuration, its defaults but for the scratch paths and what a test machine needs."""
    base, state = daemon.directory, daemon.run
    handler = {
        "runtime_type": "io.containerd.runc.v2",
        "options": {"BinaryName": runtime, "Root": str(state / "runtime")},
    }
    plugins = {
        "'io.containerd.cri.v1.images'": {
            "pinned_images": {"sandbox": PAUSE},
            "registry": {"config_path": str(base / "registries")},
        },
        "'io.containerd.cri.v1.runtime'": {
            "restrict_oom_score_adj": True,  # less than the daemon's own needs CAP_SYS_RESOURCE
            "netns_mounts_under_state_dir": True,
            "containerd": {"default_runtime_name": "runc", "runtimes": {"runc": handler}},
            "cni": {"bin_dirs": ["/opt/cni/bin", "/usr/lib/cni"], "conf_dir": str(daemon.cni)},
        },
        "'io.containerd.internal.v1.opt'": {"path": str(base / "opt")},
        "'io.containerd.nri.v1.nri'": {"socket_path": str(state / "nri.sock"), "plugin_path": str(base / "nri")},
        "'io.containerd.server.v1.grpc'": {"address": str(daemon.socket)},
        "'io.containerd.server.v1.ttrpc'": {"address": f"{daemon.socket}.ttrpc"},
        "'io.containerd.shim.v1.manager'": {"socket_dir": str(base.parent / "s")},  # their paths may have 107 bytes
    }
    return {"version": 4, "root": str(base / "state"), "state": str(state), "imports": [], "plugins": plugins}


class Containerd(Peer):
    """What a Daemon is to a test, with containerd inside."""

    def __init__(self, directory: Path, handler: str) -> None:
        """handler: the OCI runtime, as crishim's settings name it: crun or runc."""
        super().__init__(directory)
        self.run.mkdir()
        self.socket = self.run / "containerd.sock"  # in the command line of the shims, by which delete() finds them
        runtime = "/usr/bin/crun" if handler == "crun" else test_program(handler)
        self.config.write_text(to_toml(settings(self, runtime)))
        self.program = [test_program("containerd"), "--config", str(self.config)]

    def load(self, archive: Path) -> None:
        """Import an image archive where CRI looks for images."""
        command = [test_program("ctr"), f"--address={self.socket}", "--namespace=k8s.io", "images", "import"]
        subprocess.run([*command, str(archive)], check=True, capture_output=True)


class PeerNode(Node):
    """A test node over containerd."""

    daemon: Containerd

    def __init__(self, directory: Path, handler: str, kubelet: dict[str, Any]) -> None:
        self.directory = directory
        self.daemon = Containerd(directory / directory.name, handler)
        self.kubelet = Kubelet(directory, self.daemon.socket, self.daemon.cgroup, kubelet)
        self._disks = {}

    def import_images(self) -> None:
        self.import_image(IMAGE, {})
        self.import_image(PAUSE, {"Entrypoint": ["sleep", "1000000"], "Cmd": []})

    def import_image(self, name: str, config: dict[str, Any]) -> None:
        builder = Path(__file__).parents[1] / "build-images"
        with tempfile.NamedTemporaryFile(dir=self.directory, suffix=".tar") as archive:
            command = [sys.executable, str(builder), "--demo", archive.name, "--name", name]
            subprocess.run([*command, "--config", json.dumps(config)], check=True, capture_output=True)
            self.daemon.load(Path(archive.name))
