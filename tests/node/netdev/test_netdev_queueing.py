"""Queueing disciplines, classes and filters of the host are back as tc(8) shows them, or named."""

import os
import re

import pytest

from crishim.linux import netns_thread
from tests.node.netdev import bpf_samples
from tests.node.netdev.bpf_links import on_device
from tests.node.netdev.lab import Lab
from tests.node.netdev.test_netdev_network import away

pytestmark = pytest.mark.node


def disciplines(lab: Lab) -> list[str]:
    shown = lab.tc("qdisc show dev demo0") + lab.tc("class show dev demo0")
    for parent in ("parent 1:", "ingress", "egress"):
        shown += lab.tc(f"filter show dev demo0 {parent}")
    return [re.sub(r"direct_packets_stat \d+", "", line) for line in shown]  # of the host's own packets


async def test_a_tree_of_disciplines_classes_and_filters(builtin_lab: Lab) -> None:
    """htb with inner classes, leaves of several kinds and u32 filters; clsact with an action: as tc shows them."""
    lab = builtin_lab
    lab.demo()
    for words in (
        "qdisc add dev demo0 root handle 1: htb default 20 r2q 5",
        "class add dev demo0 parent 1: classid 1:1 htb rate 100mbit ceil 200mbit",
        "class add dev demo0 parent 1:1 classid 1:10 htb rate 30mbit ceil 100mbit burst 20k prio 1",
        "class add dev demo0 parent 1:1 classid 1:20 htb rate 10mbit quantum 2000",
        "qdisc add dev demo0 parent 1:10 handle 10: tbf rate 5mbit burst 20000 limit 30000",
        "qdisc add dev demo0 parent 1:20 handle 20: pfifo limit 77",
        "filter add dev demo0 parent 1: protocol ip prio 5 u32 match ip dport 443 0xffff flowid 1:10",
        "filter add dev demo0 parent 1: protocol ip prio 5 u32 match ip src 10.0.0.0/8 flowid 1:20",
        "qdisc add dev demo0 clsact",
        "filter add dev demo0 egress prio 7 protocol all u32 match u32 0 0 action mirred egress mirror dev demo0-peer",
    ):
        lab.tc(words)
    before = disciplines(lab)
    _, warnings = await away(lab)
    assert (disciplines(lab), warnings) == (before, ())


async def test_a_filter_with_a_program(builtin_lab: Lab) -> None:
    """A BPF filter of the host is back if its program is loaded still; if not, the warning names both."""
    lab = builtin_lab
    lab.demo()
    lab.tc("qdisc add dev demo0 clsact")
    program = bpf_samples.load(bpf_samples.SCHED_CLS, 0, "guard")

    def attach(end: netns_thread.Netns, index: int) -> None:
        bpf_samples.add_filter(end.netlink, index, program, "guard")

    on_device(lab.host, "demo0", attach)
    before = lab.tc("filter show dev demo0 ingress")
    assert any("guard" in line for line in before)
    _, warnings = await away(lab)
    assert (lab.tc("filter show dev demo0 ingress"), warnings) == (before, ())
    os.close(program)  # from now on the filter alone holds it
    lab.namespace("spare")
    pod = lab.pod("pod-b")
    await lab.attach(pod, ("demo0", "net1"), run=False)
    (returned,) = await lab.devices.return_devices(pod)
    assert lab.tc("filter show dev demo0 ingress") == []
    assert any("filter bpf" in w and "is not loaded any more" in w for w in returned.warnings)
