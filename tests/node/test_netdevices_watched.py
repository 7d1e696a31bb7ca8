"""A device in the pod of a running daemon that goes down, is renamed, vanishes or flaps: the log, the listing, the
metrics and the pod's verbose status say so by themselves."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, eventually, scratch_daemon
from tests.support.isolation import ip, remove_link
from tests.support.pods import annotated, container_config, create, pod_config, remove_pod, run_pod

pytestmark = pytest.mark.node
FLAPPER = """
from crishim.linux.netlink import links
from crishim.linux.netlink.rtnetlink import Rtnetlink
with Rtnetlink() as netlink:
    index = links.index_of(netlink, "net1")
    print("flapping", flush=True)
    while True:
        links.set_flags(netlink, index, 0)
        links.set_flags(netlink, index, 1)
"""


@pytest.fixture(scope="module")
def node(busybox_archive: Path) -> Iterator[Daemon]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with scratch_daemon() as daemon:
        daemon.stop()
        daemon.write_config({"metrics": {"address": address}})
        daemon.start()
        done = daemon.command("images", "import", str(busybox_archive))
        assert done.returncode == 0, done.stderr
        yield daemon


@pytest.fixture
def device() -> Iterator[str]:
    ip("link", "add", "watch0", "type", "veth", "peer", "name", "watch1")
    ip("link", "set", "watch1", "up")
    ip("link", "set", "watch0", "up")
    ip("addr", "add", "192.0.2.90/24", "dev", "watch0")
    yield "watch0"
    remove_link("watch0")
    remove_link("watch1")


class Pod:
    """One with net1. inside(): a command of iproute2 in its network namespace."""

    def __init__(self, daemon: Daemon, device: str) -> None:
        self.daemon = daemon
        self.id = run_pod(daemon, pod_config(annotations=annotated(**{device: "net1"})))
        create(daemon, self.id, container_config())
        self.netns = f"{daemon.run}/pods/{self.id}/ns/net"
        self.inside("link set net1 down")  # which is known when it is watched
        self.until(["down"], "down")
        self.inside("link set net1 up")
        self.until([], "")

    def inside(self, words: str) -> None:
        subprocess.run(["nsenter", f"--net={self.netns}", "ip", *words.split()], check=True, capture_output=True)

    def told(self) -> list[str]:
        """What the log says of it, in its order."""
        lines = [x for x in self.daemon.logged() if x.get("pod") == self.id and "before" in x]
        said = [x["message"].removeprefix("network device ") for x in lines]
        return [x for x in said if x.startswith(("in its pod", "as attached"))]

    def facts(self) -> dict[str, Any]:
        """Of net1, in the pod's verbose status."""
        answer = self.daemon.call("PodSandboxStatus", pod_sandbox_id=self.id, verbose=True)
        (found,) = json.loads(answer.info["info"])["netDevices"]
        return dict(found)

    def until(self, conditions: list[str], text: str) -> dict[str, Any]:
        """Wait until the status has the conditions; the log and `netdev list` have them then."""
        eventually(lambda: self.facts()["conditions"] == conditions, f"the status says {conditions}")
        assert self.told()[-1] == (f"in its pod: {text}" if text else "as attached again")
        (listed,) = self.daemon.command("netdev", "list", "--pod", self.id).stdout.splitlines()[1:]
        assert (f"ready, {text}" if text else "ready  ") in listed
        labels = conditions or ["as attached"]
        assert metrics(self.daemon, "crishim_netdevices") == {f'condition="{x}"': 1.0 for x in labels}
        return self.facts()


def metrics(daemon: Daemon, name: str) -> dict[str, float]:
    """The samples of one family, by their labels."""
    (address,) = [x.split('"')[1] for x in daemon.config.read_text().splitlines() if x.startswith('address = "127')]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found = [x.removeprefix(name + "{").split("} ") for x in lines if x.startswith(name + "{")]
    return {labels: float(value) for labels, value in found}


def held(daemon: Daemon) -> set[str]:
    """The inodes of the daemon's open sockets."""
    assert daemon.process is not None
    links = [os.readlink(x) for x in Path(f"/proc/{daemon.process.pid}/fd").iterdir() if x.is_symlink()]
    return {x.removeprefix("socket:[").removesuffix("]") for x in links if x.startswith("socket:")}


def monitors(pod: Pod) -> set[str]:
    """Those of its netlink sockets that are in the pod's namespace."""
    listed = subprocess.run(
        ["nsenter", f"--net={pod.netns}", "cat", "/proc/net/netlink"], check=True, capture_output=True
    )
    return {x.split()[-1] for x in listed.stdout.decode().splitlines()[1:]} & held(pod.daemon)


def test_down_renamed_and_up_again(daemon: Daemon, device: str) -> None:
    """Each is known without being asked for, by one socket in the pod, which ends with it."""
    pod = Pod(daemon, device)
    assert pod.facts()["nameNow"] == "net1"
    eventually(lambda: len(monitors(pod)) == 1, "there is one socket in the pod")
    (monitor,) = monitors(pod)
    pod.inside("link set net1 down")
    pod.until(["down"], "down")
    pod.inside("link set net1 name eth9")
    assert pod.until(["down", "renamed"], "down, renamed eth9")["nameNow"] == "eth9"
    pod.inside("link set eth9 name net1")
    pod.inside("link set net1 up")
    pod.until([], "")
    ip("link", "set", "watch1", "down")
    pod.until(["no carrier"], "no carrier")
    ip("link", "set", "watch1", "up")
    pod.until([], "")
    assert metrics(daemon, "crishim_netdevice_changes_total")['condition="down"'] >= 1
    remove_pod(daemon, pod.id)
    assert monitor not in held(daemon)
    assert metrics(daemon, "crishim_netdevices") == {}


def test_hidden_in_another_namespace_and_deleted(daemon: Daemon, device: str) -> None:
    """Gone, and by what; one that comes back is as attached again. For a restarted daemon it is LOST."""
    pod = Pod(daemon, device)
    pod.inside("netns add hidden")
    try:
        pod.inside("link set net1 netns hidden")
        assert pod.until(["gone"], "gone from its pod: moved to another namespace")["goneBy"]
        subprocess.run(["ip", "-n", "hidden", "link", "set", "net1", "netns", pod.netns], check=True)
        pod.inside("link set net1 up")
        pod.until([], "")
    finally:
        pod.inside("netns del hidden")
    pod.inside("link del net1")
    assert pod.until(["gone"], "gone from its pod: deleted")["nameNow"] == ""
    daemon.stop()
    daemon.start()
    assert pod.facts()["state"] == "lost"  # recovery has looked for it
    remove_pod(daemon, pod.id)


def test_after_a_restart(daemon: Daemon, device: str) -> None:
    """What happened while no daemon ran is known, and so is what happens then."""
    pod = Pod(daemon, device)
    daemon.stop()
    pod.inside("link set net1 name eth9")
    daemon.start()
    pod.until(["renamed"], "renamed eth9")
    pod.inside("link set eth9 down")
    pod.until(["down", "renamed"], "down, renamed eth9")
    remove_pod(daemon, pod.id)


def test_a_pod_that_flaps_it(daemon: Daemon, device: str) -> None:
    """As fast as it can, for many looks: a line of the log a look, other calls are answered, and the truth is known
    when it ends."""
    pod = Pod(daemon, device)
    begun = time.monotonic()
    command = ["nsenter", f"--net={pod.netns}", sys.executable, "-c", FLAPPER]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    flapper = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    try:
        assert flapper.stdout is not None
        assert flapper.stdout.readline() == b"flapping\n"

        def lively() -> bool:
            return any("changes its links faster" in x["message"] for x in daemon.logged() if x.get("pod") == pod.id)

        eventually(lively, "it is said that the pod is too lively")
        for _ in range(20):
            assert daemon.call("Status").status.conditions
            pod.facts()
            time.sleep(0.1)  # so that it lasts for several looks
    finally:
        flapper.kill()
        flapper.communicate()
    said = len(pod.told())
    assert said <= (time.monotonic() - begun) / 0.8 + 2
    assert sum("faster" in x["message"] for x in daemon.logged() if x.get("pod") == pod.id) <= 2
    pod.inside("link set net1 down")
    eventually(lambda: pod.facts()["conditions"] == ["down"], "the last change is known")
    pod.inside("link set net1 up")
    pod.until([], "")
    remove_pod(daemon, pod.id)


def test_a_host_device_that_appears(daemon: Daemon) -> None:
    """In the log by itself, with the rules that give it."""
    ip("link", "add", "plugged0", "type", "veth", "peer", "name", "plugged1")
    try:

        def told() -> list[Any]:
            found = [x for x in daemon.logged() if x["message"] == "a network device has appeared on the host"]
            return [x["rules"] for x in found if x["device"] == "plugged0"]

        assert eventually(told, "it is in the log") == [["netdevices.allow[0]"]]
        assert "plugged0" in daemon.command("netdev", "list", "--host").stdout
    finally:
        remove_link("plugged0")
