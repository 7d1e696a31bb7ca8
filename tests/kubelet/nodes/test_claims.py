"""A claim of a network device on several nodes: it moves with its pod, and each node has its own devices back."""

import contextlib
import json
from collections.abc import Iterator

import pytest

from tests.kubelet.nodes.deployments import apply, deploy, pods, rolled_out
from tests.support.kubelet.control_plane import patiently
from tests.support.kubelet.nodes import Member, Nodes

pytestmark = pytest.mark.node
CLASS = "netdevices.crishim.io"


def address(member: Member) -> str:
    """What the node's device has: the nodes' last digit is the device's."""
    return f"192.0.2.{member.name[-1]}/24"


def described(member: Member) -> dict[str, object]:
    """The node's device on its host; {} while it is in a pod."""
    with contextlib.suppress(AssertionError):
        (link,) = json.loads(member.machine.ip("-j", "addr", "show", "dev0"))
        addresses = {f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global"}
        return {"mac": link["address"], "mtu": link["mtu"], "addresses": addresses}
    return {}


@pytest.fixture
def devices(nodes: Nodes) -> Iterator[dict[str, dict[str, object]]]:
    """A device dev0 on each node with a driver that offers it; what it is on the host. All must be back at the end."""
    members = nodes.members
    for member in members:
        member.machine.ip("link", "add", "dev0", "mtu", "1400", "type", "veth", "peer", "name", "dev0p")
        member.machine.ip("addr", "add", address(member), "dev", "dev0")
        for link in ("dev0p", "dev0"):
            member.machine.ip("link", "set", link, "up")
        member.driver.start("dev[0-9]")
    before = {member.name: described(member) for member in members}
    yield before
    nodes.kubectl("delete", "deployments,pods,resourceclaims", "--all", "--wait", "--timeout=100s")
    patiently(lambda: {m.name: described(m) for m in members} == before, "the devices are back as they were", 60)
    for member in members:
        member.driver.stop()
        member.machine.ip("link", "del", "dev0")


def test_a_claim_moves_with_its_pod(nodes: Nodes, devices: dict[str, dict[str, object]]) -> None:
    """Each node that is drained has its device back, and the pod has the next node's under the same claim."""
    exactly = {"deviceClassName": CLASS}
    apply(nodes, "ResourceClaim", "one", {"devices": {"requests": [{"name": "link", "exactly": exactly}]}},
          "resource.k8s.io/v1")  # fmt: skip
    deploy(nodes, "claims", 1, resourceClaims=[{"name": "link", "resourceClaimName": "one"}])
    been: list[str] = []
    try:
        for _ in range(3):
            (pod,) = pods(nodes, "claims")
            been.append(pod.node)
            member = nodes[pod.node]
            shown = nodes.kubectl("exec", pod.name, "--", "ip", "addr", "show", "net1")
            assert address(member) in shown
            assert str(devices[pod.node]["mac"]) in shown
            assert described(member) == {}
            others = [other for other in nodes.members if other is not member]
            assert all(described(other) == devices[other.name] for other in others)
            allocated = json.loads(nodes.kubectl("get", "resourceclaim", "one", "-o", "json"))["status"]["devices"]
            assert [(one["pool"], one["networkData"]["ips"]) for one in allocated] == [(pod.node, [address(member)])]
            if len(been) < 3:
                nodes.kubectl("drain", pod.node, "--force", "--ignore-daemonsets", "--timeout=150s")
                rolled_out(nodes, "claims")
                patiently(lambda m=member: described(m) == devices[m.name], "it is back on its host", 60)  # type: ignore[misc]
        assert set(been) == {"node1", "node2", "node3"}
    finally:
        nodes.kubectl("uncordon", "node1", "node2", "node3")


def test_a_killed_node_keeps_the_device_of_its_pod(nodes: Nodes, devices: dict[str, dict[str, object]]) -> None:
    """Kubelet, daemon and driver die and come back: the pod still has the device, and its end returns it."""
    exactly = {"deviceClassName": CLASS}
    apply(nodes, "ResourceClaim", "kept", {"devices": {"requests": [{"name": "link", "exactly": exactly}]}},
          "resource.k8s.io/v1")  # fmt: skip
    deploy(nodes, "keeps", 1, resourceClaims=[{"name": "link", "resourceClaimName": "kept"}])
    (pod,) = pods(nodes, "keeps")
    member = nodes[pod.node]
    member.kill()
    member.driver.stop()
    assert described(member) == {}
    member.restart()
    member.driver.start("dev[0-9]")
    patiently(lambda: nodes.control.is_ready(pod.node), "the node is Ready", 120)
    look = ("exec", pod.name, "--", "ip", "addr", "show", "net1")
    patiently(lambda: address(member) in nodes.kubectl(*look, check=False), "the pod has it", 120)
    (after,) = pods(nodes, "keeps")
    assert (after.container, after.restarts) == (pod.container, 0)
    nodes.kubectl("delete", "deployment", "keeps", "--wait")
    patiently(lambda: described(member) == devices[member.name], "it is back on its host", 60)
