"""What pods keep while what runs them fails: the daemon, the kubelet, both, the network plugin."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from crishim.linux import cgroups, mounts
from crishim.pb import cri_pb2 as cri
from tests.kubelet.shapes import pod, shell
from tests.support.daemon import eventually
from tests.support.kubelet.node import Node, container_status, is_ready, restarts

pytestmark = pytest.mark.node
MANY = [f"many-{n}" for n in range(20)]


def probed() -> dict[str, object]:
    """A container whose exec probe counts its calls in /tmp/probes."""
    script = "trap 'exit 0' TERM; touch /tmp/probes; while :; do sleep 1; done"
    probe = {"exec": {"command": ["sh", "-c", "echo >>/tmp/probes"]}, "periodSeconds": 1, "timeoutSeconds": 10}
    return shell(script, readinessProbe=probe)


def identities(node: Node) -> dict[str, str]:
    """The container id of each of the many pods."""
    pods = node.pods()
    return {name: container_status(pods[name], "main").get("containerID", "") for name in MANY}


def all_ready(node: Node) -> bool:
    pods = node.pods()
    return all(name in pods and is_ready(pods[name]) for name in MANY)


def probes(node: Node, name: str) -> int:
    """How often the probe ran; 0 while the kubelet has not found the daemon's new socket, a second or two."""
    try:
        return len(node.execute(name, "main", "cat", "/tmp/probes"))
    except OSError:
        return 0


@pytest.mark.timeout(240)
def test_nothing_moves_when_daemon_or_kubelet_restart(node: Node) -> None:
    """Under 20 pods: daemon killed, daemon stopped, kubelet killed, both killed. No container is another afterwards."""
    for name in MANY:
        node.put(name, pod(probed()))
    eventually(lambda: all_ready(node), "all are Ready", 90)
    before = identities(node)
    assert all(before.values())

    def both() -> None:
        node.kubelet.kill()
        node.daemon.kill()

    for end in (node.daemon.kill, node.daemon.stop, node.kubelet.kill, both):
        end()
        if node.daemon.process is not None and node.daemon.process.poll() is not None:
            node.daemon.start()
        if node.kubelet.process is not None and node.kubelet.process.poll() is not None:
            node.kubelet.start()
        counted = eventually(lambda: probes(node, MANY[7]), "the kubelet reaches the runtime", 30)
        eventually(lambda: probes(node, MANY[7]) >= counted + 3, "the probes go on", 30)  # noqa: B023 - called here
        eventually(lambda: all_ready(node), "all are Ready", 60)
        pods = node.pods()
        assert identities(node) == before
        assert {restarts(pods[name]) for name in MANY} == {0}
    node.remove(*MANY, timeout=110)


def test_a_container_that_ends_while_the_daemon_is_away_is_restarted_once(node: Node) -> None:
    """Its exit code is known after the daemon's restart, and it runs again with restart count 1."""
    found = node.run("away", pod(shell("trap 'exit 7' TERM; while :; do sleep 0.1; done")))
    identity = container_status(found, "main")["containerID"].removeprefix("crishim://")
    pid = next(p for p in map(int, filter(str.isdigit, os.listdir("/proc"))) if _is_first(p, identity))
    node.daemon.kill()
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "the process is gone")
    node.daemon.start()
    found = node.wait("away", lambda p: restarts(p) == 1 and is_ready(p), "runs again")
    ended = container_status(found, "main")["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (7, "Error")


def _is_first(pid: int, identity: str) -> bool:
    """Whether a process is the first one of a container, by its cgroup and its pid inside."""
    try:
        inside = identity in Path(f"/proc/{pid}/cgroup").read_text()
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return inside and "\t1\n" in next(line + "\n" for line in status.splitlines() if line.startswith("NSpid"))


def test_a_network_plugin_that_fails_for_a_while(node: Node) -> None:
    """The pod waits with an event that names plugin and reason, comes up by itself, with one sandbox that is ready."""
    broken = node.daemon.plugins / "bridge"
    broken.write_text('#!/bin/sh\necho \'{"cniVersion":"1.0.0","code":99,"msg":"out of order today"}\'\nexit 1\n')
    broken.chmod(0o755)
    try:
        node.put("cni", pod())
        eventually(lambda: node.events("cni", "FailedCreatePodSandBox"), "the kubelet reports it", 30)
        assert "out of order today" in node.events("cni", "FailedCreatePodSandBox")[0]
        assert node.kubelet.healthy()
    finally:
        broken.unlink()
    assert restarts(node.ready("cni", 60)) == 0
    # The one whose tear-down failed with the plugin may be there still, not ready, for the kubelet to remove.
    listed = [p for p in node.daemon.call("ListPodSandbox").items if p.metadata.name == "cni-node"]
    assert [p.state for p in listed].count(cri.SANDBOX_READY) == 1


def test_an_image_that_cannot_be_pulled_and_then_can(node: Node) -> None:
    """The pod waits with an event that names the image, and starts by itself once the image is there."""
    name = "localhost/crishim/later:latest"
    main = shell(name="main")
    node.put("later", pod(main | {"image": name, "imagePullPolicy": "IfNotPresent"}))
    eventually(
        lambda: node.kubelet.logged("Event occurred", "later-node", "Failed to pull", name), "it is reported", 60
    )
    node.import_image(name, {})
    assert restarts(node.ready("later", 90)) == 0


def test_a_reboot(node: Node) -> None:
    """Every process is gone, all of the run directory, every rule: the pods come back, and go cleanly."""
    names = [f"reboot-{n}" for n in range(3)]
    for name in names:
        node.put(name, pod())
    before = {name: container_status(node.ready(name), "main")["containerID"] for name in names}
    node.kubelet.kill()
    node.daemon.kill()
    for line in node.daemon.left()["processes"]:
        os.kill(int(line.partition(" ")[0]), signal.SIGKILL)
    cgroups.kill(node.daemon.cgroup)
    for target in mounts.below(node.daemon.run):
        mounts.unmount(target)
    shutil.rmtree(node.daemon.run)
    subprocess.run(["iptables", "-t", "nat", "-F"], check=True)
    node.daemon.start()
    node.kubelet.start()

    def again(found: dict[str, object]) -> bool:
        return is_ready(found) and container_status(found, "main")["containerID"] not in before.values()

    for name in names:
        found = node.wait(name, again, "runs again", 90)
        assert restarts(found) == 1
