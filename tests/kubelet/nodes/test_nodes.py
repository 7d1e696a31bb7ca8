"""Three nodes: where pods go, how they reach each other, and what becomes of them when a node is drained or killed."""

from typing import Any

import pytest

from tests.kubelet.nodes.deployments import IDLE, SERVE, ask, deploy, pods, rolled_out
from tests.support.kubelet.control_plane import patiently
from tests.support.kubelet.nodes import Nodes

pytestmark = pytest.mark.node
ALL = {"node1", "node2", "node3"}


def leave_after(seconds: int) -> dict[str, Any]:
    """Tolerations of a pod that leaves a node that is not heard of. Kubernetes adds 300 s to pods that have none."""
    keys = ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")
    every = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
    return {"tolerations": [{"key": key, **every} for key in keys]}


def test_pods_spread_and_reach_each_other(nodes: Nodes) -> None:
    """Six replicas, two on each node; each is reached from a pod of each node, by IPv4 and IPv6."""
    deploy(nodes, "spread", 6, SERVE)
    found = pods(nodes, "spread")
    by_node = {pod.node: pod for pod in found}
    assert sorted(pod.node for pod in found) == sorted([*ALL, *ALL])
    for pod in found:
        four, six = pod.addresses
        assert (four.startswith(f"10.231.{pod.node[-1]}."), six.startswith(f"fd31:0:0:{pod.node[-1]}:")) == (True, True)
        for client in by_node.values():
            assert [ask(nodes, client, address) for address in (four, six)] == [pod.name, pod.name]


def test_a_drain_moves_pods_to_other_nodes(nodes: Nodes) -> None:
    """kubectl drain: the node's pods end, and run on the others; uncordoned it takes pods again."""
    deploy(nodes, "moves", 3)
    gone = next(pod for pod in pods(nodes, "moves") if pod.node == "node2")
    try:
        nodes.kubectl("drain", "node2", "--force", "--ignore-daemonsets", "--timeout=150s")
        rolled_out(nodes, "moves")
        found = pods(nodes, "moves")
        assert {pod.node for pod in found} == {"node1", "node3"}
        assert gone.name not in {pod.name for pod in found}
        left = nodes["node2"].daemon.call("ListPodSandbox").items
        assert not [sandbox.metadata.name for sandbox in left if sandbox.state == 0]
    finally:
        nodes.kubectl("uncordon", "node2")
    deploy(nodes, "moves", 6)
    assert {pod.node for pod in pods(nodes, "moves")} == ALL


def test_a_node_is_killed_and_comes_back(nodes: Nodes) -> None:
    """Kubelet and daemon are killed: what may leave runs elsewhere, what may not runs on in its container.

    When the node is back, the pod that was replaced is ended there, and nothing else has happened to the other.
    """
    killed = nodes["node3"]
    deploy(nodes, "leaves", 3, **leave_after(1))
    deploy(nodes, "stays", 1, SERVE, nodeName="node3")
    (stays,) = pods(nodes, "stays")
    client = next(pod for pod in pods(nodes, "leaves") if pod.node == "node1")
    killed.kill()
    assert ask(nodes, client, stays.addresses[0]) == stays.name
    patiently(lambda: not nodes.control.is_ready("node3"), "the node is NotReady", 120)

    def replaced() -> bool:
        found = [pod.node for pod in pods(nodes, "leaves") if pod.ready]
        return len(found) == 3 and "node3" not in found

    patiently(replaced, "three run on the other nodes", 120)
    assert ask(nodes, client, stays.addresses[1]) == stays.name
    killed.restart()
    patiently(lambda: nodes.control.is_ready("node3"), "the node is Ready", 120)

    def running() -> set[str]:
        """Names of the pods that the node's daemon has Ready."""
        return {s.metadata.name for s in killed.daemon.call("ListPodSandbox").items if s.state == 0}

    patiently(lambda: running() == {stays.name}, "the pod that was replaced is ended", 120)
    patiently(lambda: pods(nodes, "stays")[0].ready, "it is Ready again", 120)
    assert pods(nodes, "stays") == [stays]


def test_a_node_loses_its_power(nodes: Nodes) -> None:
    """Every process of a node is killed: its pods are started again when it is back, with new addresses or the old."""
    lost = nodes["node2"]
    deploy(nodes, "stays", 1, IDLE, nodeName="node2")
    (before,) = pods(nodes, "stays")
    lost.kill(pods=True)
    lost.restart()

    def again() -> bool:
        (pod,) = pods(nodes, "stays")
        return pod.ready and pod.container != before.container

    patiently(again, "it runs again", 150)
    (after,) = pods(nodes, "stays")
    assert (after.name, after.node, after.restarts) == (before.name, "node2", 1)
