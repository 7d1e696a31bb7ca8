"""Statistics from the runtime, as the kubelet passes them on, beside the cgroups' files and interfaces' counters."""

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crishim.linux import cgroups
from tests.kubelet.shapes import pod, shell
from tests.support.daemon import eventually
from tests.support.isolation import ip, remove_link
from tests.support.kubelet.node import Node, container_status
from tests.support.kubelet.process import NAME, request

pytestmark = pytest.mark.node
Figures = dict[str, float]
SAMPLE = re.compile(r"^(\w+)\{(.*)\} (\S+)", re.M)
LABEL = re.compile(r'(\w+)="([^"]*)"')


@pytest.fixture
def busy(node: Node) -> Iterator[Node]:
    """A node with the pod `stats`: it used CPU, memory, disk and network, and is at rest; it has eth0 and net1."""
    remove_link("dev0")
    for arguments in ("link add dev0 type veth peer name dev0p", "link set dev0p up"):
        ip(*arguments.split())
    work = "x=$(head -c 3000000 /dev/zero | tr '\\0' x); head -c 2000000 /dev/zero >/filled; mkdir -p /a/b; "
    work += "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; sleep 10000 & sleep 10000 & touch /tmp/done; wait"
    ready = {"exec": {"command": ["test", "-e", "/tmp/done"]}, "periodSeconds": 1, "failureThreshold": 300}
    limits = {"limits": {"memory": "64Mi", "cpu": "900m"}}
    main = shell(work, startupProbe=ready, resources=limits)
    annotations = {"netdevices.crishim.io/pod": '{"dev0": {"name": "net1"}}'}
    found = node.run("stats", pod(main, shell("exec sleep 10000", "other")), annotations=annotations)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(500):
            sender.sendto(bytes(1000), (found["status"]["podIP"], 9))
    yield node
    node.remove("stats")
    eventually(lambda: " dev0@" in ip("-o", "link"), "dev0 is back")
    remove_link("dev0")


def kernel(node: Node, mark: str) -> Figures:
    """What the kernel counts for the cgroup whose directory's name ends in mark."""
    tops = cgroups.directories(node.daemon.cgroup)
    directories = [d for top in tops for d in top.rglob(f"*{mark}")]
    assert directories, mark
    pids = {pid for d in directories for f in d.rglob("cgroup.procs") for pid in f.read_text().split()}
    one = cgroups.version() == 1
    file = {p.name: p for d in directories for p in d.iterdir() if not (one and "unified" in d.parts)}
    stat = dict(line.split() for line in file["memory.stat"].read_text().splitlines())

    def read(name: str) -> int:
        return int(file[name].read_text()) if name in file else 0

    prefix = "total_" if one else ""
    used = read("memory.usage_in_bytes" if one else "memory.current")
    cpu = read("cpuacct.usage") if one else int(file["cpu.stat"].read_text().split()[1]) * 1000
    return {
        "cpu": cpu,
        "usage": used,
        "working set": used - int(stat[prefix + "inactive_file"]),
        "rss": int(stat["total_rss" if one else "anon"]),
        "swap": int(stat["total_swap"]) if one and "total_swap" in stat else read("memory.swap.current"),
        "faults": int(stat[prefix + "pgfault"]),
        "processes": len(pids),
        "threads": read("pids.current"),
        "descriptors": sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids),
    }


def network(pid: int) -> Figures:
    """Counters of a process's interfaces but lo, by "eth0 rxBytes" and the like; proc_pid_net(5)."""
    found: Figures = {}
    for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]:
        name, _, numbers = line.strip().partition(":")
        values = list(map(int, numbers.split()))
        for word, place in (("rxBytes", 0), ("rxPackets", 1), ("rxErrors", 2), ("txBytes", 8), ("txPackets", 9)):
            found[f"{name} {word}"] = values[place]
    return {key: value for key, value in found.items() if not key.startswith("lo ")}


def disk(directory: Path) -> Figures:
    """du(1) of a writable layer."""
    words = [subprocess.check_output(["du", "-s", *flags, str(directory)]) for flags in (["-B1"], ["--inodes"])]
    used, inodes = (int(text.split()[0]) for text in words)
    return {"bytes": used, "inodes": inodes}


def agree(look: Any, told: Any, what: str) -> Figures:
    """Wait until told() is, figure by figure, between what look() says before and after it; the figures."""
    seen: list[Any] = []

    def agreed() -> Figures | None:
        before, said, after = look(), told(), look()
        wrong = {k: (before[k], v, after[k]) for k, v in said.items() if not before[k] <= v <= after[k]}
        seen[:] = [wrong]
        return None if wrong or not said else said

    try:
        found = eventually(agreed, what, 60)
    except AssertionError as error:
        raise AssertionError(f"{error}: {seen}") from None
    assert found is not None
    return found


def summary() -> dict[str, Any]:
    """The pod `stats` in /stats/summary, {} while it is not there; its containers by name."""
    pods = json.loads(request("/stats/summary"))["pods"]
    found: dict[str, Any] = next((p for p in pods if p["podRef"]["name"] == f"stats-{NAME}"), {})
    return found | {"containers": {c["name"]: c for c in found.get("containers") or []}}


def of_entry(entry: dict[str, Any]) -> Figures:
    """The figures in a container's, or a pod's, part of the summary."""
    memory = entry["memory"]
    found = {
        "cpu": entry["cpu"]["usageCoreNanoSeconds"],
        "usage": memory["usageBytes"],
        "working set": memory["workingSetBytes"],
        "rss": memory["rssBytes"],
        "faults": memory["pageFaults"],
    }
    if "swap" in entry:
        found["swap"] = entry["swap"]["swapUsageBytes"]
    if "process_stats" in entry:
        found["processes"] = entry["process_stats"]["process_count"]
    return found


def samples(path: str, container: str | None = None) -> Figures:
    """The samples of pod `stats` at a metrics endpoint, of a container or without one, by metric and interface."""
    found: Figures = {}
    for metric, text, value in SAMPLE.findall(request(path).decode()):
        labels = dict(LABEL.findall(text))
        if labels.get("pod") == f"stats-{NAME}" and labels.get("container") == container:
            found[f"{metric} {labels.get('interface', '')}".strip()] = float(value)
    return found


def identity(node: Node, container: str) -> str:
    identity: str = container_status(node.pod("stats"), container)["containerID"]
    return identity.removeprefix("crishim://")


@pytest.mark.fact("feature gates")
def test_the_summary(busy: Node) -> None:
    """/stats/summary: CPU, memory, swap and processes of containers and pod are their cgroups'; both interfaces' bytes
    are the namespace's; the root file system's are the writable layer's."""
    node = busy
    for name in ("main", "other"):
        mark = identity(node, name)
        found = agree(lambda: kernel(node, mark), lambda: of_entry(summary()["containers"][name]), f"{name}'s figures")  # noqa: B023
        assert found["cpu"] > 0
        assert found["rss"] > (3000000 if name == "main" else 0)
        upper = node.daemon.state / "writable" / mark / "upper"

        def of_disk(name: str = name) -> Figures:
            rootfs = summary()["containers"][name]["rootfs"]
            return {"bytes": rootfs["usedBytes"], "inodes": rootfs["inodesUsed"]}

        used = agree(lambda: disk(upper), of_disk, f"{name}'s disk")  # noqa: B023
        assert used["bytes"] >= (2000000 if name == "main" else 0)
    uid = node.pod("stats")["metadata"]["uid"]
    whole = agree(lambda: kernel(node, f"pod{uid}"), lambda: of_entry(summary()), "the pod's figures")
    assert (whole["processes"], whole["cpu"] > 10**9 // 4) == (4, True)

    def of_network() -> Figures:
        entry = summary()["network"]
        links = [entry, *entry.get("interfaces", [])]
        return {f"{x['name']} {k}": x[k] for x in links for k in ("rxBytes", "txBytes", "rxErrors")}

    links = agree(lambda: network(node.pid_of("stats")), of_network, "the network's figures")
    assert links["eth0 rxBytes"] > 500 * 1000
    assert links["net1 txBytes"] > 0
    assert summary()["network"]["name"] == "eth0"


def test_the_resource_metrics(busy: Node) -> None:
    """/metrics/resource: CPU, working set, swap and creation of containers and pod."""
    node, path = busy, "/metrics/resource"

    def told(prefix: str, container: str | None) -> Figures:
        found = samples(path, container)
        names = {"cpu": "cpu_usage_seconds_total", "working set": "memory_working_set_bytes"}
        names["swap"] = "swap_usage_bytes"
        values = {key: found[f"{prefix}_{name}"] for key, name in names.items() if f"{prefix}_{name}" in found}
        return values | ({"cpu": round(values["cpu"] * 10**9)} if "cpu" in values else {})

    for name in ("main", "other"):
        mark = identity(node, name)
        found = agree(lambda: kernel(node, mark), lambda: told("container", name), f"{name}'s samples")  # noqa: B023
        assert set(found) == {"cpu", "working set", "swap"}
        created = node.daemon.call("ContainerStatus", container_id=mark).status.created_at  # the kubelet's choice
        assert samples(path, name)["container_start_time_seconds"] == pytest.approx(created / 10**9, abs=0.01)
    uid = node.pod("stats")["metadata"]["uid"]
    whole = agree(lambda: kernel(node, f"pod{uid}"), lambda: told("pod", None), "the pod's samples")
    assert set(whole) == {"cpu", "working set", "swap"}


def test_the_cadvisor_metrics(busy: Node) -> None:
    """/metrics/cadvisor: CPU, memory, processes, files and disk of a container, interfaces of the pod, limits."""
    node, path, mark = busy, "/metrics/cadvisor", identity(busy, "main")
    names = {
        "usage": "container_memory_usage_bytes",
        "working set": "container_memory_working_set_bytes",
        "rss": "container_memory_rss",
        "swap": "container_memory_swap",
        "processes": "container_processes",
        "threads": "container_threads",
        "descriptors": "container_file_descriptors",
        "bytes": "container_fs_usage_bytes",
    }
    upper = node.daemon.state / "writable" / mark / "upper"

    def told() -> Figures:
        found = samples(path, "main")
        return {key: found[name] for key, name in names.items()} if found else {}

    found = agree(lambda: kernel(node, mark) | disk(upper), told, "the container's samples")
    assert (found["processes"], found["threads"]) == (3, 3)
    given = samples(path, "main")
    seconds = kernel(node, mark)["cpu"] // 10**9
    assert 0 <= seconds - given["container_cpu_usage_seconds_total"] <= 1
    assert given["container_spec_memory_limit_bytes"] == 64 << 20
    assert (given["container_spec_cpu_quota"], given["container_spec_cpu_period"]) == (90000, 100000)
    assert given["container_oom_events_total"] == 0
    words = {"rxBytes": "receive_bytes", "rxPackets": "receive_packets", "rxErrors": "receive_errors"}
    words |= {"txBytes": "transmit_bytes", "txPackets": "transmit_packets"}

    def told_links() -> Figures:
        found = samples(path, "POD")
        return {
            f"{link} {key}": found[f"container_network_{word}_total {link}"]
            for link in ("eth0", "net1")
            for key, word in words.items()
            if found
        }

    assert agree(lambda: network(node.pid_of("stats")), told_links, "the interfaces' samples")["eth0 rxPackets"] > 500
