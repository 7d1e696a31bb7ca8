"""The daemon comes back to records of running pods that it cannot read: the kubelet keeps them, or replaces them."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kubelet.shapes import pod
from tests.kubelet.test_faults import probed, probes
from tests.support.daemon import eventually
from tests.support.kubelet.node import Node, container_status, restarts

pytestmark = pytest.mark.node


def newer(path: Path) -> None:
    """As a later version may write it."""
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"schema": 2, "state": "hibernating", "user": "root"}))


def torn(path: Path) -> None:
    """As a power cut may leave it."""
    path.write_bytes(path.read_bytes()[:300])


DAMAGE = {"newer": newer, "torn": torn}


def sandbox(node: Node, name: str) -> str:
    """The id of the pod's sandbox."""
    found = [p.id for p in node.daemon.call("ListPodSandbox").items if p.metadata.name.startswith(f"{name}-")]
    assert len(found) == 1, found
    return str(found[0])


def identity(node: Node, name: str) -> str:
    return str(container_status(node.pod(name), "main")["containerID"]).removeprefix("crishim://")


def damage(node: Node, *records: tuple[str, str, Callable[[Path], None]]) -> None:
    """Kill the daemon, damage records (kind, id, how), start it again."""
    node.daemon.kill()
    for kind, id, hurt in records:
        hurt(node.daemon.state / kind / f"{id}.json")
    node.daemon.wait_serving(node.daemon.launch(), 90)


def wait_probes(node: Node, *names: str) -> None:
    """Until the kubelet has worked with the pods for a while."""
    for name in names:
        counted = eventually(lambda: probes(node, name), "the kubelet reaches the runtime", 60)  # noqa: B023
        eventually(lambda: probes(node, name) >= counted + 3, "the probes go on", 60)  # noqa: B023


@pytest.mark.parametrize("kind", ["containers", "pods", "both"])
def test_the_kubelet_keeps_what_runs(node: Node, kind: str) -> None:
    """A newer and a torn record: the same containers run on, without a restart, are probed, entered, logged, ended."""
    pods = {f"{name}-{kind}": hurt for name, hurt in DAMAGE.items()}
    for name in pods:
        node.put(name, pod(probed()))
    for name in pods:
        node.ready(name)
    before = {name: (identity(node, name), node.pid_of(name)) for name in pods}
    records = [("containers", before[name][0], hurt) for name, hurt in pods.items() if kind != "pods"]
    records += [("pods", sandbox(node, name), hurt) for name, hurt in pods.items() if kind != "containers"]
    damage(node, *records)
    wait_probes(node, *pods)
    for name in pods:
        found = node.ready(name)
        assert (identity(node, name), node.pid_of(name)) == before[name]
        assert restarts(found) == 0
        assert node.execute(name, "main", "echo", name).strip() == name
    node.remove(*pods)


def test_a_container_that_ended_meanwhile_is_restarted_once(node: Node) -> None:
    """Its record is torn and it ended while the daemon was away: one restart, in the same sandbox."""
    node.run("ended", pod(probed()))
    container, pid, home = identity(node, "ended"), node.pid_of("ended"), sandbox(node, "ended")

    def torn_and_ended(path: Path) -> None:
        torn(path)
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not Path(f"/proc/{pid}").exists(), "it has ended")

    damage(node, ("containers", container, torn_and_ended))
    found = node.wait("ended", lambda p: restarts(p) == 1, "was restarted")
    assert container_status(found, "main")["lastState"]["terminated"]["exitCode"] == 0
    node.ready("ended")
    wait_probes(node, "ended")
    assert restarts(node.pod("ended")) == 1
    assert sandbox(node, "ended") == home
    node.remove("ended")


def test_a_pod_of_which_nothing_is_known_is_replaced(node: Node) -> None:
    """Neither its record nor the copy of it can be read: the kubelet makes a new one; the old one can be removed."""
    node.run("replaced", pod(probed()))
    container, home = identity(node, "replaced"), sandbox(node, "replaced")

    def empty(path: Path) -> None:
        for each in (path, node.daemon.run / path.parent.name / path.stem / "record.json"):
            assert each.exists()
            each.write_bytes(b"")

    damage(node, ("pods", home, empty), ("containers", container, empty))
    node.wait("replaced", lambda p: identity(node, "replaced") != container, "has another container")
    node.ready("replaced")
    node.remove("replaced")
