"""A container whose process cannot be killed for a while: it waits in the kernel for a file system that is away."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kubelet.shapes import pod, shell
from tests.node.hanging import Hanging
from tests.support.daemon import eventually
from tests.support.kubelet.node import Node, container_status, restarts, scratch_node

pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(not os.access("/dev/fuse", os.W_OK), reason="there is no /dev/fuse: nothing to wait for"),
]


@pytest.fixture(scope="module")
def the_node() -> Iterator[Node]:
    """A node whose kubelet gives up a call of the runtime after eight seconds, not two minutes."""
    with scratch_node(kubelet={"runtimeRequestTimeout": "8s"}) as node:
        yield node


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Hanging]:
    directory = tmp_path / "hanging"
    directory.mkdir()
    found = Hanging(directory)
    yield found
    found.close()


def state(pid: int) -> str:
    """The letter of /proc/PID/stat: D is uninterruptible sleep."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.timeout(240)
def test_a_process_that_cannot_be_killed(hanging: Hanging, node: Node, tmp_path: Path) -> None:
    """The stop runs out of time and is tried again while all else goes on; when it can be killed, all of it goes."""
    volume: dict[str, Any] = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    stuck = shell("exec cat /v/file", **volume)
    volumes = [{"name": "v", "hostPath": {"path": str(tmp_path / "hanging"), "type": "Directory"}}]
    neighbour = container_status(node.run("neighbour", pod()), "main")["containerID"]
    node.run("stuck", pod(stuck, volumes=volumes, terminationGracePeriodSeconds=1))
    assert hanging.waiting.wait(30)
    pid = node.pid_of("stuck")
    (node.kubelet.manifests / "stuck.yaml").unlink()
    late = ("StopContainer", "DeadlineExceeded")
    eventually(lambda: node.kubelet.logged(*late), "the kubelet gives up the first time", 60)
    assert state(pid) == "D"
    assert node.kubelet.healthy()
    node.run("newcomer", pod())
    eventually(lambda: len(node.kubelet.logged(*late)) > 1, "it tries again", 90)
    assert "main" in node.events("stuck", "FailedKillPod")[0]
    found = node.ready("neighbour")
    assert (restarts(found), container_status(found, "main")["containerID"]) == (0, neighbour)
    hanging.close()
    node.remove("stuck", timeout=90)
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "the process is gone", 60)
