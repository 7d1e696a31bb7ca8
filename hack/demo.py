"""The demo behind hack/demo: every step is done with crictl against a real daemon, shown, and checked.

It works on scratch directories and on links of its own (demo0, demo0p, crishim-demo), and removes all of it at the end,
also after a failure. Exit status 0 only if every step held.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crishim.linux import cgroups, mounts
from hack.steps import Failed, hold, run, say, wait
from tests.support.isolation import leftover_controllers

IMAGE = "localhost/crishim/busybox:latest"
BRIDGE = "crishim-demo"
TOOLS = os.environ["CRISHIM_TEST_BIN"]


def link(name: str) -> dict[str, Any]:
    """What the host's kernel says of a link: the facts that must be the same afterwards."""
    found = json.loads(run("ip", "-j", "-d", "addr", "show", name))[0]
    addresses = sorted(f"{a['local']}/{a['prefixlen']}" for a in found["addr_info"] if a["scope"] == "global")
    keys = ("ifname", "ifindex", "mtu", "address")
    return {k: found[k] for k in keys} | {"up": "UP" in found["flags"], "addresses": addresses}


class Demo:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "crishim.sock"
        self.log = directory / "log"
        self.timeline: list[tuple[str, float]] = []
        self.daemon: subprocess.Popen[bytes] | None = None

    def crictl(self, *arguments: str, show: bool = False, step: str = "") -> str:
        started = time.perf_counter()
        endpoint = f"unix://{self.socket}"  # for both: /etc/crictl.yaml may name another for images
        both = (f"--runtime-endpoint={endpoint}", f"--image-endpoint={endpoint}")
        out = run(f"{TOOLS}/crictl", *both, *arguments, show=show)
        if step:
            self.timeline.append((step, (time.perf_counter() - started) * 1000))
        return out.strip()

    def write(self, name: str, content: Any) -> Path:
        path = self.directory / name
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
        return path

    def start_daemon(self) -> None:
        (self.directory / "cni").mkdir()
        ipam = {
            "type": "host-local",
            "dataDir": str(self.directory / "ipam"),
            "ranges": [[{"subnet": "10.232.0.0/24"}]],
        }
        bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipam": ipam}
        self.write("cni/10-demo.conflist", {"cniVersion": "1.0.0", "name": "demo", "plugins": [bridge]})
        config = self.write(
            "config.toml",
            f'socket = "{self.socket}"\nstate_dir = "{self.directory}/state"\nrun_dir = "{self.directory}/run"\n'
            f'[log]\nlevel = "debug"\nformat = "json"\n[network]\nconfig_dir = "{self.directory}/cni"\n'
            f'[netdevices]\nallow = [{{devices = ["demo0"], namespaces = ["default"]}}]\n'
            f'[pods]\ncgroup_parent = "/crishim-demo"\n[nri]\nsocket = "{self.directory}/nri.sock"\n'
            f'[runtimes]\ndefault = "runc"\n[runtimes.handlers.runc]\npath = "{TOOLS}/runc"\n',
        )
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "crishim", "serve", "--config", str(config)]
            self.daemon = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait("the daemon serves", lambda: self._serving())
        archive = self.directory / "busybox.tar"
        run(sys.executable, "hack/build-images", "--demo", archive)
        run(sys.executable, "-m", "crishim", "images", "import", "--config", config, archive, show=True)

    def _serving(self) -> bool:
        assert self.daemon is not None
        if self.daemon.poll() is not None:
            raise Failed(f"the daemon ended: {self.log.read_text()}")
        return '"message": "serving"' in self.log.read_text()

    def container(self, attempt: int) -> Path:
        script = "echo hello from attempt $0; trap 'exit 0' TERM; while :; do sleep 0.1; done"
        return self.write(
            f"container-{attempt}.json",
            {
                "metadata": {"name": "main", "attempt": attempt},
                "image": {"image": IMAGE},
                "command": ["sh", "-c", script, str(attempt)],
                "log_path": f"main-{attempt}.log",
                "linux": {"security_context": {"namespace_options": {"pid": 1}}},
            },
        )

    def check_net1(self, container: str, before: dict[str, Any]) -> str:
        """Look at net1 from inside; its ifindex there."""
        shown = self.crictl("exec", "-s", container, "ip", "addr", "show", "net1", show=True, step="exec -s")
        flags = re.search(r"<(.*)>", shown)
        hold("net1 is UP", flags and "UP" in flags[1].split(","))
        hold(
            f"net1 has MTU {before['mtu']} and MAC {before['address']}",
            f"mtu {before['mtu']} " in shown and before["address"] in shown,
        )
        hold(f"net1 has {' and '.join(before['addresses'])}", all(a in shown for a in before["addresses"]))
        lines = [line for line in shown.splitlines() if any(a in line for a in before["addresses"])]
        hold("and of these none is tentative", lines and not any("tentative" in line for line in lines))
        return shown.split(":")[0]

    def play(self) -> None:
        say("A daemon on scratch directories, and a busybox image built on the spot")
        self.start_daemon()
        say("A host device demo0 with IPv4, IPv6 and MTU 1400")
        run("ip", "link", "add", "demo0", "mtu", "1400", "type", "veth", "peer", "name", "demo0p")
        for arguments in (
            "addr add 192.0.2.7/24 dev demo0",
            "addr add 2001:db8::7/64 dev demo0 nodad",
            "link set demo0p up",
            "link set demo0 up",
        ):
            run("ip", *arguments.split())
        before = link("demo0")
        run("ip", "addr", "show", "demo0", show=True)
        say('A pod whose annotation asks for demo0 as net1: {"demo0": {"name": "net1"}}')
        pod_file = self.write(
            "pod.json",
            {
                "metadata": {"name": "demo", "namespace": "default", "uid": "demo-uid"},
                "log_directory": str(self.directory / "logs"),
                "annotations": {"netdevices.crishim.io/pod": json.dumps({"demo0": {"name": "net1"}})},
                "linux": {"security_context": {"namespace_options": {"pid": 1}}},
            },
        )
        pod = self.crictl("runp", str(pod_file), step="RunPodSandbox")
        hold("demo0 is still on the host: a pod without a container takes nothing", link("demo0") == before)
        container = self.crictl("create", pod, str(self.container(0)), str(pod_file), step="CreateContainer")
        self.crictl("start", container, step="StartContainer")
        self.crictl("ps", show=True)
        say("From inside: lo, eth0 from CNI, and net1")
        inside = self.crictl("exec", "-s", container, "ip", "-o", "addr", show=True)
        hold("lo is there", "127.0.0.1" in inside)
        ip = json.loads(self.crictl("inspectp", pod))["status"]["network"]["ip"]
        hold(f"eth0 has the CNI address {ip}", re.search(rf"eth0 +inet {re.escape(ip)}/", inside))
        index = self.check_net1(container, before)
        hold(
            "demo0 is gone from the host",
            subprocess.run(["ip", "link", "show", "demo0"], capture_output=True).returncode,
        )
        run(sys.executable, "-m", "crishim", "netdev", "list", "--config", self.directory / "config.toml", show=True)
        say("Logs and an exec")
        wait("the container logs", lambda: "attempt 0" in self.crictl("logs", container))
        self.crictl("logs", container, show=True)
        hold(
            "exec answers",
            self.crictl("exec", "-s", container, "echo", "hello from exec", show=True) == "hello from exec",
        )
        again = self.restart(pod, pod_file, container, index, before)
        self.return_device(pod, again, before)

    def restart(self, pod: str, pod_file: Path, container: str, index: str, before: dict[str, Any]) -> str:
        """Kill the container and start its next attempt, whose id is returned."""
        say("The container is killed, and its next attempt starts in the same pod")
        pid = json.loads(self.crictl("inspect", container))["info"]["pid"]
        os.kill(int(pid), signal.SIGKILL)
        wait("the end is recorded", lambda: "CONTAINER_EXITED" in self.crictl("inspect", container))
        status = json.loads(self.crictl("inspect", container))["status"]
        hold(f"exit code {status['exitCode']}, reason {status['reason']}", status["exitCode"] == 137)
        again = self.crictl("create", pod, str(self.container(1)), str(pod_file), step="CreateContainer (attempt 1)")
        self.crictl("start", again, step="StartContainer (attempt 1)")
        hold("net1 is still there, with the same ifindex", self.check_net1(again, before) == index)
        return again

    def return_device(self, pod: str, again: str, before: dict[str, Any]) -> None:
        """Stop and remove the pod."""
        say("The pod is stopped and removed: demo0 comes back as it was")
        self.crictl("stop", "--timeout", "5", again, step="StopContainer")
        self.crictl("stopp", pod, step="StopPodSandbox")
        after = link("demo0")
        run("ip", "addr", "show", "demo0", show=True)
        hold(f"demo0 is back: {after}", after == before)
        self.crictl("rmp", pod, step="RemovePodSandbox")
        hold("nothing is left of the pod", not self.crictl("pods", "-q") and not self.crictl("ps", "-aq"))

    def print_timeline(self) -> None:
        say("Where the milliseconds went (the daemon's own time; a bar of 40 is the longest call)")
        calls: list[tuple[str, float, list[tuple[str, float]]]] = []
        steps: list[tuple[str, float]] = []
        shown = {
            "RunPodSandbox",
            "CreateContainer",
            "StartContainer",
            "ExecSync",
            "StopContainer",
            "StopPodSandbox",
            "RemovePodSandbox",
        }
        for line in map(json.loads, filter(lambda text: text.startswith("{"), self.log.read_text().splitlines())):
            if line.get("rpc") not in shown:
                continue
            if line["message"] == "step":
                steps.append((line["step"], line["ms"]))
            elif line["message"] == "answered":
                calls.append((line["rpc"], line["ms"], steps))
                steps = []
        longest = max(ms for _, ms, _ in calls)
        for name, ms, parts in calls:
            print(f"   {name:18} {ms:7.1f} ms {'#' * max(1, round(40 * ms / longest))}")
            for step, part in parts:
                print(f"     {step:30} {part:7.1f} ms")

    def clean(self) -> None:
        """Take away all of it, whatever state it is in."""
        if self.daemon is not None and self.daemon.poll() is None:
            with contextlib.suppress(Failed):
                self.crictl("rmp", "--all", "--force")
            self.daemon.terminate()
            self.daemon.wait(30)
        for name in ("demo0", BRIDGE):
            run("ip", "link", "del", name, check=False)
        for target in mounts.below(self.directory):
            mounts.unmount(target)
        cgroups.remove("/crishim-demo")
        shutil.rmtree(self.directory, ignore_errors=True)


@contextlib.contextmanager
def whole_hybrid() -> Iterator[None]:
    """crun and runc want no controller left in v2 on a v1 hybrid: mount those that are, while the demo lasts."""
    made = []
    for controller in leftover_controllers():
        directory = cgroups.ROOT / controller
        directory.mkdir(exist_ok=True)
        mounts.mount("cgroup", "cgroup", directory, data=controller)
        made.append(directory)
    try:
        yield
    finally:
        for directory in made:
            cgroups.remove("/crishim-demo")
            mounts.unmount(directory)
            directory.rmdir()


def main() -> int:
    taken = [
        n for n in ("demo0", BRIDGE) if subprocess.run(["ip", "link", "show", n], capture_output=True).returncode == 0
    ]
    if taken:
        print(f"demo: there is a link {taken[0]} already: the demo will not touch it", file=sys.stderr)
        return 1
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="crishim-demo-", dir=base))
    directory.chmod(0o711)
    demo = Demo(directory)
    forwarding = Path("/proc/sys/net/ipv4/ip_forward")  # the bridge plugin switches it on
    before = forwarding.read_text()
    with whole_hybrid():
        try:
            demo.play()
            demo.print_timeline()
        except Failed as error:
            print(f"\ndemo: this did not hold: {error}", file=sys.stderr)
            if demo.log.exists():
                print("the daemon's last lines:", *demo.log.read_text().splitlines()[-5:], sep="\n  ", file=sys.stderr)
            return 1
        finally:
            demo.clean()
            forwarding.write_text(before)
    print("\nAll of it held, and all of it is cleaned up.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
