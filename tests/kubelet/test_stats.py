"""Statistics from the runtime, as the kubelet passes them on, beside the files of the cgroups."""

import json
import re

import pytest

from crishim.wire.linux import cgroups
from hack.kubelet.node import Node, container_status
from hack.kubelet.process import request
from tests.kubelet.shapes import pod, shell
from tests.node.daemon import eventually

pytestmark = pytest.mark.node


def summary(name: str) -> dict[str, object]:
    found = json.loads(request("/stats/summary"))
    return next((p for p in found["pods"] if p["podRef"]["name"] == f"{name}-node"), {})


def test_the_summary_has_every_kind(node: Node) -> None:
    """CPU, memory, network, file system and process counts of a pod and its container, with the cgroups' numbers."""
    script = "head -c 20000000 /dev/zero >/filled; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 1000"
    found = node.run("stats", pod(shell(script)))
    identity = container_status(found, "main")["containerID"].removeprefix("crishim://")

    def complete() -> dict[str, object]:
        entry = summary("stats")
        containers = entry.get("containers") or [{}]
        filled = containers[0].get("rootfs", {}).get("usedBytes", 0) >= 20000000
        return entry if filled and entry.get("network") and containers[0]["cpu"].get("usageCoreNanoSeconds") else {}

    entry = eventually(complete, "the summary is complete", 40)
    main = entry["containers"][0]
    network = entry["network"]
    assert network["name"] == "eth0"
    assert network["rxBytes"] > 0
    assert entry["process_stats"]["process_count"] >= 1
    assert entry["memory"]["workingSetBytes"] > 0
    if cgroups.version() == 1:
        directory = next(d for d in cgroups.hierarchies()["cpuacct"].rglob(f"*{identity}*"))
        used = int((directory / "cpuacct.usage").read_text())
        assert 0 < main["cpu"]["usageCoreNanoSeconds"] <= used
        limit = next(d for d in cgroups.hierarchies()["memory"].rglob(f"*{identity}*"))
        assert main["memory"]["usageBytes"] <= 4 * int((limit / "memory.max_usage_in_bytes").read_text())


def test_metrics_endpoints(node: Node) -> None:
    """/metrics/resource and /metrics/cadvisor have the pod's samples."""
    node.run("metrics", pod())

    def sampled(path: str, metric: str) -> bool:
        text = request(path).decode()
        return bool(re.search(rf'^{metric}{{[^}}]*pod="metrics-node"[^}}]*}} \S+', text, re.M))

    eventually(lambda: sampled("/metrics/resource", "container_cpu_usage_seconds_total"), "a resource sample", 30)
    eventually(lambda: sampled("/metrics/resource", "pod_memory_working_set_bytes"), "a resource sample", 30)
    eventually(lambda: sampled("/metrics/cadvisor", "container_memory_working_set_bytes"), "a cadvisor sample", 30)
