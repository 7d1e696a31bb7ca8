"""CRI-O in crishim's place: same network, OCI runtime, monitor, images, and a scratch directory."""

import subprocess
from pathlib import Path
from typing import Any

from hack.peer import Peer
from tests.support.daemon import Daemon, test_program
from tests.support.settings_toml import to_toml

# Its infra containers want -998, which needs CAP_SYS_RESOURCE: a machine without it takes some milliseconds more.
WRAPPER = """#!/bin/sh
case " $* " in *" create "*)
  for word; do
    [ ! -f "$word/config.json" ] || sed -i 's/"oomScoreAdj": *-*[0-9]*/"oomScoreAdj":1000/' "$word/config.json"
  done ;;
esac
exec {program} "$@"
"""
PAUSE = "localhost/crishim/pause:latest"


def settings(daemon: Daemon, runtime: str) -> dict[str, Any]:
    """CRI-O's configuration, its defaults but for the scratch paths and what a machine without systemd needs."""
    base, run = daemon.directory, daemon.run
    handler = {"runtime_path": runtime, "runtime_root": str(run / "runtime"), "monitor_path": "/usr/bin/conmon"}
    paths = {"listen": str(daemon.socket), "stream_address": "127.0.0.1", "stream_port": "0"}
    core = {
        "root": str(daemon.state),
        "runroot": str(run / "images"),
        "storage_driver": "overlay",
        "log_dir": str(base / "logs"),
        "version_file": str(run / "version"),
        "version_file_persist": str(base / "version"),
        "clean_shutdown_file": str(base / "clean"),
    }
    return {
        "crio": {
            **core,
            "api": paths,
            "runtime": {
                "default_runtime": "runc",
                "cgroup_manager": "cgroupfs",
                "conmon_cgroup": "pod",
                "pinns_path": test_program("pinns"),
                "namespaces_dir": str(run / "ns"),
                "container_exits_dir": str(run / "exits"),
                "container_attach_socket_dir": str(run / "attach"),
                "runtimes": {"runc": handler},
            },
            "image": {"pause_image": PAUSE, "pause_command": "", "signature_policy": str(base / "policy.json")},
            "network": {"network_dir": str(daemon.cni), "plugin_dirs": ["/opt/cni/bin", "/usr/lib/cni"]},
            "nri": {"enable_nri": False},
        }
    }


class CriO(Peer):
    """What a Daemon is to a test, with CRI-O inside."""

    def __init__(self, directory: Path, handler: str, registries_conf: Path) -> None:
        super().__init__(directory)
        self.run.mkdir()
        self.socket = self.run / "crio.sock"
        (directory / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        runtime = directory / "oci-runtime"
        runtime.write_text(WRAPPER.format(program="/usr/bin/crun" if handler == "crun" else test_program(handler)))
        runtime.chmod(0o755)
        self.config.write_text(to_toml(settings(self, str(runtime))))
        self.program = [
            test_program("crio"),
            f"--config={self.config}",
            "--config-dir=",
            f"--registries-conf={registries_conf}",
        ]

    def load(self, archive: Path, name: str) -> None:
        target = f"containers-storage:[overlay@{self.state}+{self.run}/images]{name}"
        copy = ["skopeo", "copy", "-q", "--insecure-policy", f"oci-archive:{archive}:{name}", target]
        subprocess.run(copy, check=True, capture_output=True)

    def delete(self) -> None:
        """Its pods' cgroups are beside those of the directory: the OCI runtime takes containers and cgroups away."""
        self.kill()
        for state in (self.run / "runtime").glob("*/state.json"):
            program = str(self.directory / "oci-runtime")
            delete = [program, f"--root={self.run}/runtime", "delete", "--force", state.parent.name]
            subprocess.run(delete, capture_output=True, check=False)
        super().delete()
