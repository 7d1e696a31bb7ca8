"""One pod with a container and a network device, from runp to removal, on a scratch daemon: the outputs by name.

play() needs namespaces of its own (tests/support/isolation.py); it leaves nothing behind.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from hack.teaching import shown
from hack.teaching.normal import Names
from hack.teaching.parts import with_origins
from tests.support.daemon import IMAGE, Daemon, eventually, scratch_daemon, test_program
from tests.support.isolation import ip, remove_link

BRIDGE = "tour0"
RECORDER = """#!/bin/sh
here=$(dirname "$0")
env | grep ^CNI_ | sort > "$here/$CNI_COMMAND.env"
cat > "$here/$CNI_COMMAND.stdin"
answer=$({real} < "$here/$CNI_COMMAND.stdin"); code=$?
printf '%s' "$answer" | tee "$here/$CNI_COMMAND.answer"
exit $code
"""
SCRIPT = "echo hello from $HOSTNAME; trap 'exit 3' TERM; while :; do sleep 0.1; done"
PARTS = [
    "ociVersion",
    "process.args",
    "process.env",
    "process.user.uid",
    "root.path",
    "mounts[/proc]",
    "mounts[/dev/shm]",
    "mounts[/etc/hosts]",
    "annotations.io.kubernetes.cri.sandbox-name",
    "linux.namespaces[network]",
    "linux.namespaces[ipc]",
    "linux.namespaces[pid]",
    "linux.cgroupsPath",
    "linux.netDevices",
]


class Tour:
    """The run, step by step; `made` is what there is to show."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.names = Names(daemon.directory)
        self.made: dict[str, str] = {}
        self.pod = self.container = ""
        self.processes: dict[int, str] = {}
        self.logged = 0

    def show(self, name: str, text: str) -> None:
        self.made[name] = self.names.apply(text).rstrip() + "\n"

    def crictl(self, *words: str) -> str:
        return self.daemon.crictl(*words).strip()

    def story(self, rpc: str, steps: bool = False) -> str:
        """What was logged since it was asked last."""
        lines = self.daemon.logged()
        new, self.logged = lines[self.logged :], len(lines)
        return shown.story(new, rpc, steps)

    def prepare(self, archive: Path) -> None:
        """A network whose plugin is recorded, an image, a device."""
        real = shutil.which("bridge", path="/opt/cni/bin:/usr/lib/cni:/usr/libexec/cni")
        plugin = self.daemon.plugins / "bridge"
        plugin.write_text(RECORDER.replace("{real}", str(real)))
        plugin.chmod(0o755)
        ipam = {
            "type": "host-local",
            "dataDir": f"{self.daemon.directory}/ipam",
            "ranges": [[{"subnet": "10.88.0.0/16"}]],
        }
        network = {
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [{"type": "bridge", "bridge": BRIDGE, "ipam": ipam}],
        }
        (self.daemon.cni / "10-test.conflist").write_text(json.dumps(network))
        done = self.daemon.command("images", "import", str(archive))
        assert done.returncode == 0, done.stderr
        ip("link", "add", "demo0", "mtu", "1400", "type", "veth", "peer", "name", "demo0-peer")
        ip("addr", "add", "192.0.2.7/24", "dev", "demo0")
        ip("link", "set", "demo0-peer", "up")
        ip("link", "set", "demo0", "up")

    def write(self, name: str, content: Any) -> str:
        path = self.daemon.directory / name
        path.write_text(json.dumps(content))
        return str(path)

    def pod_file(self) -> str:
        return self.write(
            "pod.json",
            {
                "metadata": {"name": "tour", "namespace": "default", "uid": "tour-uid"},
                "hostname": "tour",
                "log_directory": f"{self.daemon.directory}/logs",
                "annotations": {"netdevices.crishim.io/pod": '{"demo0": {"name": "net1"}}'},
                "linux": {"security_context": {"namespace_options": {"pid": 1}}},
            },
        )

    def container_file(self) -> str:
        return self.write(
            "container.json",
            {
                "metadata": {"name": "main"},
                "image": {"image": IMAGE},
                "command": ["sh", "-c", SCRIPT],
                "log_path": "main.log",
                "linux": {"security_context": {"namespace_options": {"pid": 1}}},
            },
        )

    def run_pod(self) -> None:
        self.story("")
        self.pod = self.crictl("runp", self.pod_file())
        self.names.add(self.pod, "<pod>")
        self.names.add(self.pod[:13], "<pod>")
        pins = self.daemon.run / "pods" / self.pod / "ns"
        for pin in pins.iterdir():
            self.names.add(pin.stat().st_ino, f"<{pin.name}>")
        self.show("runp-log", self.story("RunPodSandbox", steps=True))
        self.show("runp-record", shown.pretty(shown.record(self.daemon.state / f"pods/{self.pod}.json")))
        self.show("runp-pins", shown.files(pins))
        self.show("cni-request", shown.request(self.daemon.plugins, "ADD"))
        self.show("cni-result", shown.pretty(json.loads((self.daemon.plugins / "ADD.answer").read_text())))

    def create(self) -> None:
        self.container = self.crictl("create", self.pod, self.container_file(), self.pod_file())
        self.names.add(self.container, "<container>")
        path = self.daemon.state / f"containers/{self.container}.json"
        found = shown.record(path)
        self.names.add(found["image_id"], "<image>")
        self.processes = {found["monitor"]["pid"]: "<conmon>", found["process"]["pid"]: "<main>"}
        for ref in ("monitor", "process"):
            self.names.add(found[ref]["pid"], self.processes[found[ref]["pid"]])
            self.names.add(found[ref]["start_time"], "<ticks>")
        entry = next((self.daemon.state / "netdev").glob("*.json"))
        self.names.add(entry.stem, "<attachment>")
        self.show("create-log", self.story("CreateContainer", steps=True))
        self.show("create-record", shown.pretty(found))
        bundle = self.daemon.run / "containers" / self.container
        origins = json.loads((self.daemon.directory / "origins").read_text())
        self.show("create-spec", with_origins(json.loads((bundle / "config.json").read_text()), origins, PARTS))
        self.show("create-journal", shown.pretty(shown.attachment(entry)))
        self.show("create-tree", shown.tree(self.processes))

    def start(self) -> None:
        self.crictl("start", self.container)
        log = self.daemon.directory / "logs/main.log"
        eventually(lambda: log.exists() and log.read_text(), "the container writes")
        self.show("start-log", self.story("StartContainer"))
        self.show("start-tree", shown.tree(self.processes))
        self.show("start-output", log.read_text())
        self.show("start-links", self.crictl("exec", "-s", self.container, "ip", "-o", "-4", "addr"))

    def stop_container(self) -> None:
        self.crictl("stop", "--timeout", "10", self.container)
        self.show("stop-log", self.story("StopContainer"))
        found = shown.record(self.daemon.state / f"containers/{self.container}.json")
        self.show(
            "stop-record", shown.pretty({k: found[k] for k in ("id", "state", "exit_code", "reason") if k in found})
        )
        listed = self.daemon.command("netdev", "list").stdout
        self.show("stop-devices", "\n".join(narrow(line) for line in listed.splitlines()))

    def stop_pod(self) -> None:
        self.crictl("stopp", self.pod)
        self.show("stopp-log", self.story("StopPodSandbox"))
        self.show("stopp-request", (self.daemon.plugins / "DEL.env").read_text())
        self.show("stopp-link", ip("-o", "-4", "addr", "show", "demo0"))
        self.show("stopp-files", self._records())

    def remove_pod(self) -> None:
        self.crictl("rmp", self.pod)
        eventually(lambda: self._records().count("(empty)") == 7, "what goes behind the answer is gone")
        self.show("rmp-log", self.story("RemovePodSandbox"))
        self.show("rmp-files", self._records())

    def _records(self) -> str:
        """All records, and the pod's and the container's directories."""
        places = [self.daemon.state / p for p in ("pods", "containers", "netdev", "writable")]
        places += [self.daemon.run / p for p in ("pods", "containers", "roots")]
        return "\n".join(f"{p}/ {' '.join(sorted(e.name for e in p.iterdir())) or '(empty)'}" for p in places)


def narrow(line: str) -> str:
    """A line of a table with its columns two spaces apart: how wide they are depends on the ids."""
    return "  ".join(filter(None, (cell.strip() for cell in line.split("  "))))


def play(archive: Path) -> dict[str, str]:
    """The outputs of a run. archive: an image archive that holds IMAGE."""
    runtimes = {"default": "runc", "handlers": {"runc": {"path": test_program("runc")}}}
    recorded = (sys.executable, "-m", "hack.teaching.recorded")
    with scratch_daemon(recorded, runtimes=runtimes) as daemon:
        tour = Tour(daemon)
        try:
            tour.prepare(archive)
            for step in (tour.run_pod, tour.create, tour.start, tour.stop_container, tour.stop_pod, tour.remove_pod):
                step()
        finally:
            for name in ("demo0", BRIDGE):
                remove_link(name)
    return tour.made
