"""nftables chains on the device: a pod's stay in its namespace, the host's find the device again."""

import subprocess
from pathlib import Path

import pytest

from tests.node.netdev.lab import Lab

pytestmark = pytest.mark.node


def nft(netns: Path | str, *commands: str) -> str:
    argv = ["nsenter", f"--net={netns}", "nft", *commands]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def packets(lab: Lab) -> int:
    """What the host's chain has counted."""
    return int(nft(lab.host, "list ruleset").split("packets ")[1].split()[0])


async def test_chains_of_the_pod_drop_nothing_of_the_hosts(builtin_lab: Lab) -> None:
    """A chain that drops all the device sends, made in the pod; the host's own, which counts, is in force again."""
    lab = builtin_lab
    far = lab.namespace("far")
    lab.demo()
    subnet = lab.addresses("demo0")[0]["local"].rsplit(".", 1)[0]
    nft(lab.host, "add table netdev host")
    nft(lab.host, "add chain netdev host in { type filter hook ingress device demo0 priority 0; }")
    nft(lab.host, "add rule netdev host in counter")
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    lab.ip(f"link set demo0-peer netns {far}")
    lab.ip(f"addr add {subnet}.8/24 dev demo0-peer", far)
    lab.ip("link set demo0-peer up", far)
    nft(pod.netns, "add table netdev pod")
    for hook in ("ingress", "egress"):
        chain = f"{{ type filter hook {hook} device net1 priority 0; policy drop; }}"
        nft(pod.netns, f"add chain netdev pod {hook} {chain}")
    counted = packets(lab)  # of the peer's own, before the device went
    (returned,) = await lab.devices.return_devices(pod)
    assert returned.warnings == ()
    assert any(lab.answers(f"{subnet}.8") for _ in range(10))
    assert packets(lab) > counted
