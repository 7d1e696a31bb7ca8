"""The disk full: pods that run go on, new ones wait with an event that says so, and start once there is space."""

import errno
import json
import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubelet.shapes import pod, shell
from tests.support.daemon import eventually
from tests.support.kubelet.node import Node, container_status, restarts, scratch_node

pytestmark = pytest.mark.node
PAGE = mmap.PAGESIZE


@pytest.fixture(scope="module")
def the_node() -> Iterator[Node]:
    """A node whose daemon's state lies on a file system of 24 MB, and whose pods log to another of 8 MB."""
    with scratch_node(disks={"state": "24m", "logs": "8m"}) as node:
        yield node


def fill(directory: Path) -> None:
    """Until not one byte is left; writers may free some by writing less."""
    with (directory / "filler").open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC  # noqa: PT017


def records(node: Node) -> list[object]:
    """Every record of pods and containers, each a whole JSON document."""
    kinds = (node.daemon.state / "pods", node.daemon.state / "containers")
    return [json.loads(path.read_bytes()) for kind in kinds for path in kind.glob("*.json")]


def test_the_daemons_disk_is_full(node: Node) -> None:
    """Running pods are probed, restarted and kept through the daemon's end; a new pod's event says what is missing."""
    main = shell("touch /dev/shm/up; while test -e /dev/shm/up; do sleep 0.1; done; exit 3")
    main["readinessProbe"] = {"exec": {"command": ["test", "-e", "/dev/shm/up"]}, "periodSeconds": 1}
    kept = container_status(node.run("kept", pod(main)), "main")["containerID"]
    node.run("goes", pod())
    assert len(records(node)) == 4
    try:
        fill(node.daemon.state)
        node.put("new", pod())
        eventually(lambda: node.events("new", "FailedCreatePodSandBox"), "the kubelet reports it", 60)
        assert "No space left on device" in node.events("new", "FailedCreatePodSandBox")[0]
        assert "up" in node.execute("kept", "main", "ls", "/dev/shm")
        node.daemon.kill()
        node.daemon.start()
        assert len(records(node)) >= 4
        found = node.ready("kept")
        assert (restarts(found), container_status(found, "main")["containerID"]) == (0, kept)
        assert node.kubelet.healthy()
        node.remove("goes")
        fill(node.daemon.state)
        node.execute("kept", "main", "rm", "/dev/shm/up")
        node.wait("kept", lambda p: not container_status(p, "main").get("ready"), "has ended, which is told", 30)
    finally:
        (node.daemon.state / "filler").unlink()
    assert restarts(node.ready("new", 90)) == 0
    found = node.ready("kept", 90)
    assert container_status(found, "main")["lastState"]["terminated"]["exitCode"] == 3
    assert restarts(found) == 1
    assert records(node)


def test_the_logs_disk_is_full(node: Node) -> None:
    """A pod that cannot log goes on; its lines come again with the space; a new pod starts, too."""
    script = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.1; done"
    writes = container_status(node.run("writes", pod(shell(script))), "main")["containerID"]
    log = next(node.kubelet.pod_logs.glob("default_writes-*/main/0.log"))
    eventually(lambda: log.stat().st_size > 200, "it logs")
    try:
        fill(node.kubelet.pod_logs)
        node.put("logs-new", pod(shell(f"echo first; {script}")))
        node.wait("logs-new", lambda p: p["status"].get("containerStatuses"), "is seen", 60)
        eventually(lambda: log.stat().st_size % PAGE == 0, "the log's last page is full", 60)
        size = log.stat().st_size
        assert node.execute("writes", "main", "echo", "alive") == "alive\n"
        found = node.ready("writes")
        assert (restarts(found), container_status(found, "main")["containerID"]) == (0, writes)
    finally:
        (node.kubelet.pod_logs / "filler").unlink()
    eventually(lambda: log.stat().st_size > size, "the log grows again", 30)
    node.ready("logs-new", 90)
    lines = eventually(lambda: node.logs("writes", "main", tailLines=3).splitlines(), "the kubelet reads it", 30)
    assert all(line.startswith("line ") for line in lines)
    eventually(lambda: node.logs("logs-new", "main", tailLines=1).startswith("line "), "the new pod logs", 30)
