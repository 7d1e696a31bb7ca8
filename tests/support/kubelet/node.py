"""A test node: the daemon and a kubelet over it, static pods put on it and looked at through the kubelet's API."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from crishim.linux import mounts
from tests.support.daemon import IMAGE, Daemon, eventually
from tests.support.isolation import remove_link
from tests.support.kubelet import host
from tests.support.kubelet.place import HERE, NAME, Place
from tests.support.kubelet.process import Kubelet, request
from tests.support.residue import BRIDGE

SIGNALLED = "localhost/crishim/sigusr1:latest"  # busybox whose image says STOPSIGNAL SIGUSR1
Pod = dict[str, Any]


class Node:
    """One node on a directory of its own below /dev/shm. Start the daemon before the kubelet.

    kubelet: changes to its configuration. disks: sizes ("64m") of file systems of their own for "state", the daemon's
    state directory, and "logs", the pods' logs. settings: sections of the daemon's configuration.
    """

    def __init__(
        self,
        directory: Path,
        gates: dict[str, bool] | None = None,
        *,
        kubelet: dict[str, Any] | None = None,
        disks: dict[str, str] | None = None,
        place: Place = HERE,
        **settings: Any,
    ) -> None:
        self.directory = directory
        self.daemon = Daemon(directory / directory.name, settings, inside=place.inside)
        changes = {**(kubelet or {}), "featureGates": gates or {}}
        self.kubelet = Kubelet(directory, self.daemon.socket, self.daemon.cgroup, changes, place)
        self._disks = disks or {}

    def start(self) -> None:
        self.prepare()
        host.make_cgroup(self.daemon.cgroup)
        for name, size in self._disks.items():
            target = {"state": self.daemon.state, "logs": self.kubelet.pod_logs}[name]
            target.mkdir(exist_ok=True)
            mounts.mount("tmpfs", "small", target, data=f"size={size},mode=711")
        self.daemon.start()
        self.import_images()
        self.kubelet.start()

    def prepare(self) -> None:
        """Make what is around the two programs."""
        host.lay_over(self.directory)

    def import_images(self) -> None:
        self.import_image(IMAGE, {})
        self.import_image(SIGNALLED, {"StopSignal": "SIGUSR1"})

    def import_image(self, name: str, config: dict[str, str]) -> None:
        """Build a busybox image under a name and with more configuration, and give it to the daemon."""
        builder, archive = Path(__file__).parents[3] / "hack/build-images", self.directory / "image.tar"
        command = [sys.executable, str(builder), "--demo", str(archive), "--name", name]
        subprocess.run([*command, "--config", json.dumps(config)], check=True, capture_output=True)
        done = self.daemon.command("images", "import", str(archive))
        assert done.returncode == 0, done.stderr
        archive.unlink()

    # --- pods ---------------------------------------------------------------------------------------------------------

    def put(self, name: str, spec: Pod, **metadata: Any) -> None:
        """Write a static pod's manifest; the kubelet acts on it."""
        document = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", **metadata},
            "spec": {"terminationGracePeriodSeconds": 2, **spec},
        }
        waiting = self.directory / f"{name}.yaml"
        waiting.write_text(yaml.safe_dump(document))
        waiting.rename(self.kubelet.manifests / f"{name}.yaml")

    def pods(self) -> dict[str, Pod]:
        """The pods the kubelet has, by the name in their manifest."""
        items = json.loads(request("/pods"))["items"] or []
        return {item["metadata"]["name"].removesuffix(f"-{NAME}"): item for item in items}

    def pod(self, name: str) -> Pod:
        """One pod as the kubelet has it, {} while it has none."""
        return self.pods().get(name, {})

    def wait(self, name: str, look: Any, what: str, timeout: float = 60.0) -> Pod:
        """The pod, once look(pod) is true."""

        def seen() -> Pod | None:
            pod = self.pod(name)
            return pod if pod and look(pod) else None

        try:
            found = eventually(seen, f"{name}: {what}", timeout)
        except AssertionError as error:
            status = json.dumps(self.pod(name).get("status", {}))[:3000]
            events = "\n".join(line[:600] for line in self.kubelet.logged(f"{name}-{NAME}", "event")[-6:])
            raise AssertionError(f"{error}\nstatus: {status}\nevents: {events}") from None
        assert found is not None
        return found

    def ready(self, name: str, timeout: float = 60.0) -> Pod:
        return self.wait(name, is_ready, "is Ready", timeout)

    def run(self, name: str, spec: Pod, **metadata: Any) -> Pod:
        """Put a pod and wait until it is Ready."""
        self.put(name, spec, **metadata)
        return self.ready(name)

    def remove(self, *names: str, timeout: float = 60.0) -> None:
        """Take manifests away and wait until the runtime has nothing of the pods."""
        for name in names:
            (self.kubelet.manifests / f"{name}.yaml").unlink(missing_ok=True)
        wanted = {f"{name}-{NAME}" for name in names}

        def gone() -> bool:
            left = {p.metadata.name for p in self.daemon.call("ListPodSandbox").items if p.state == 0}
            return not left & wanted and not {f"{n}-{NAME}" for n in self.pods()} & wanted

        eventually(gone, f"the pods {names} are gone", timeout)

    def pid_of(self, name: str, container: str = "main") -> int:
        """The pid of a container's first process, as the runtime reports it."""
        identity = container_status(self.pod(name), container)["containerID"].removeprefix("crishim://")
        return int(json.loads(self.daemon.crictl("inspect", identity))["info"]["pid"])

    def execute(self, pod: str, container: str, *command: str) -> str:
        """Run a command through the kubelet's port; its output. Words without spaces only: so the kubelet splits."""
        query = urllib.parse.urlencode({"cmd": " ".join(command)})
        path = f"/run/default/{pod}-{NAME}/{container}?{query}"
        return request(path, "POST").decode(errors="replace")

    def logs(self, pod: str, container: str, **query: Any) -> str:
        asked = urllib.parse.urlencode(query)
        return request(f"/containerLogs/default/{pod}-{NAME}/{container}?{asked}").decode()

    def events(self, pod: str, reason: str) -> list[str]:
        """Lines of the kubelet's log that report an event of a pod; without an API server they are nowhere else."""
        return self.kubelet.logged("Event occurred", f"{pod}-{NAME}", reason)

    # --- the end ------------------------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Remove every sandbox through the daemon, as a node that is drained does."""
        with contextlib.suppress(AssertionError):
            self.daemon.crictl("rmp", "--all", "--force")

    def left(self) -> dict[str, set[str]]:
        """What is on the node that a pod could have made, by kind; the kubelet's own directories among it."""
        found = self.daemon.left()
        found["cgroups"] -= {"kubepods", "kubepods/burstable", "kubepods/besteffort"}  # the kubelet's own, for good
        found["pods"] = {str(p) for p in (self.kubelet.root / "pods").glob("*")}
        return found

    def settle(self, before: dict[str, set[str]]) -> None:
        """Remove ended sandboxes, which the kubelet keeps for a while, and wait until only `before` is left."""
        self.sweep()

        def new() -> dict[str, set[str]]:
            try:
                left = self.left()
            except FileNotFoundError as error:  # it went while it was looked at
                return {"going": {str(error)}}
            return {kind: left[kind] - before[kind] for kind in left if left[kind] - before[kind]}

        try:
            eventually(lambda: not new(), "nothing is left", 30)
        except AssertionError:
            raise AssertionError(f"left behind: {new()}") from None

    def delete(self) -> None:
        """End everything and remove it, whatever state it is in."""
        self.kubelet.kill()
        if self.daemon.process is not None and self.daemon.process.poll() is None:
            self.sweep()
        self.daemon.delete()
        self.clear()
        for target in mounts.below(self.directory):
            mounts.unmount(target)
        shutil.rmtree(self.directory, ignore_errors=True)

    def clear(self) -> None:
        """Undo prepare()."""
        host.take_up()


def is_ready(pod: Pod) -> bool:
    conditions = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions", [])}
    return conditions.get("Ready") == "True"


def container_status(pod: Pod, name: str, kind: str = "containerStatuses") -> Pod:
    """The status of one container, {} while there is none."""
    return next((s for s in pod.get("status", {}).get(kind, []) if s["name"] == name), {})


def restarts(pod: Pod) -> int:
    return sum(s["restartCount"] for s in pod.get("status", {}).get("containerStatuses", []))


def new_directory() -> Path:
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/run"
    directory = Path(tempfile.mkdtemp(prefix="crishim-node-", dir=base))
    directory.chmod(0o711)  # for the root of user namespaces
    return directory


@contextlib.contextmanager
def scratch_node(gates: dict[str, bool] | None = None, **options: Any) -> Iterator[Node]:
    """A running node, its options those of Node; everything of it is gone afterwards."""
    host.isolate_node()
    node = Node(new_directory(), gates, **options)
    try:
        node.start()
        yield node
    finally:
        if os.environ.get("CRISHIM_KEEP_LOGS"):
            for log in (node.kubelet.log, node.daemon.log):
                shutil.copy(log, os.environ["CRISHIM_KEEP_LOGS"])
        node.delete()
        remove_link(BRIDGE)
