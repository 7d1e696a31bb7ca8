"""Statistics and metrics of real containers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from crishim.linux import cgroups
from crishim.pb import cri_pb2 as cri
from tests.support.daemon import Daemon, eventually
from tests.support.isolation import ip
from tests.support.pods import container_config, create, execute, pod_config, remove_pod, run_pod, start

pytestmark = pytest.mark.node

BUSY = ["sh", "-c", "while :; do :; done"]
# Metrics newer critest excuses: what this host's kernel or the container's request does not give.
EXEMPT = {
    *(f"container_hugetlb_{name}" for name in ("max_usage_bytes", "usage_bytes")),
    *(f"container_pressure_{r}_{k}_seconds_total" for r in ("cpu", "io", "memory") for k in ("stalled", "waiting")),
    "container_spec_cpu_quota",
    "container_spec_memory_reservation_limit_bytes",
    "container_ulimits_soft",
}


@pytest.fixture
def pod(daemon: Daemon) -> Iterator[str]:
    id = run_pod(daemon)
    yield id
    remove_pod(daemon, id)


def stats(daemon: Daemon, container: str) -> cri.ContainerStats:
    found: cri.ContainerStats = daemon.call("ContainerStats", container_id=container).stats
    return found


def listed(daemon: Daemon, **wanted: Any) -> list[str]:
    found = daemon.call("ListContainerStats", filter=cri.ContainerStatsFilter(**wanted)).stats
    return [s.attributes.id for s in found]


def cgroup_files(daemon: Daemon, container: str, name: str) -> list[Path]:
    info = json.loads(daemon.call("ContainerStatus", container_id=container, verbose=True).info["info"])
    return [d / name for d in cgroups.directories(info["cgroup"]) if (d / name).exists()]


def unset(message: object) -> list[str]:
    """Fields with a presence of their own that a message lacks."""
    fields = message.DESCRIPTOR.fields  # type: ignore[attr-defined]
    return [f.name for f in fields if f.message_type and not f.is_repeated and not message.HasField(f.name)]  # type: ignore[attr-defined]


@pytest.mark.fact("ContainerStats", "ListContainerStats")
def test_a_running_containers_figures(daemon: Daemon, pod: str) -> None:
    """Rows ContainerStats: cpu, memory, writable_layer, swap and io, each wrapper set, psi where the kernel has it."""
    config = container_config(annotations={"a": "b"}, labels={"l": "m"})
    config.linux.resources.memory_limit_in_bytes = 64 << 20
    container = start(daemon, pod, config)
    # The kernel adds a new cgroup's counters up every two seconds.
    eventually(lambda: stats(daemon, container).memory.page_faults.value, "its page faults are counted")
    found = stats(daemon, container)
    assert (found.attributes.id, found.attributes.metadata.name) == (container, "c")
    assert (dict(found.attributes.labels), dict(found.attributes.annotations)) == ({"l": "m"}, {"a": "b"})
    assert found.cpu.usage_core_nano_seconds.value > 0
    assert 0 < found.memory.working_set_bytes.value <= found.memory.usage_bytes.value < 64 << 20
    assert found.memory.available_bytes.value == (64 << 20) - found.memory.working_set_bytes.value
    assert Path(found.writable_layer.fs_id.mountpoint).is_dir()
    for message in (found.cpu, found.memory, found.swap, found.io, found.writable_layer):
        assert set(unset(message)) <= {"psi"}
        assert message.timestamp > 0
    has_psi = bool(cgroup_files(daemon, container, "cpu.pressure"))
    assert found.cpu.HasField("psi") == found.memory.HasField("psi") == found.io.HasField("psi") == has_psi


def test_figures_follow_what_the_container_does(daemon: Daemon, pod: str) -> None:
    """CPU time grows, and one busy process is about one core; what is written shows at once."""
    container = start(daemon, pod, container_config(command=BUSY))
    before = stats(daemon, container)
    execute(daemon, container, "sh", "-c", "mkdir /d; dd if=/dev/zero of=/d/f bs=1M count=3 2>&1")
    after = stats(daemon, container)
    assert after.writable_layer.used_bytes.value >= before.writable_layer.used_bytes.value + (3 << 20)
    assert after.writable_layer.inodes_used.value == before.writable_layer.inodes_used.value + 2
    grown = after.cpu.usage_core_nano_seconds.value - before.cpu.usage_core_nano_seconds.value
    assert grown > 0
    cores = after.cpu.usage_nano_cores.value / 1e9
    assert 0 < cores < 2.5


@pytest.mark.fact("ContainerStats", "ListContainerStats", "PodSandboxStats", "ListPodSandboxStats")
def test_filters_and_streams(daemon: Daemon, pod: str) -> None:
    """Id, pod and labels combine, no filter is all; streams give the same, each once; an empty list ends at once."""
    other = run_pod(daemon)
    first = start(daemon, pod, container_config(name="a", labels={"x": "1"}))
    second = start(daemon, pod, container_config(name="b"))
    third = start(daemon, other, container_config(name="a", labels={"x": "1"}))
    assert set(listed(daemon)) == {first, second, third}
    assert listed(daemon, id=first) == [first]
    assert listed(daemon, id=first[:13]) == [first]
    assert set(listed(daemon, pod_sandbox_id=pod)) == {first, second}
    assert set(listed(daemon, label_selector={"x": "1"})) == {first, third}
    assert listed(daemon, label_selector={"x": "1"}, pod_sandbox_id=other) == [third]
    assert listed(daemon, label_selector={"x": "2"}) == []
    (answer,) = daemon.call("StreamContainerStats")
    assert {s.attributes.id for s in answer.container_stats} == {first, second, third}
    nobody = cri.ContainerStatsFilter(id="ff00ff")
    assert daemon.call("StreamContainerStats", filter=nobody) == []
    (answer,) = daemon.call("StreamPodSandboxStats")
    assert {s.attributes.id for s in answer.pod_sandbox_stats} == {pod, other}
    assert daemon.call("StreamPodSandboxStats", filter=cri.PodSandboxStatsFilter(id="ff00ff")) == []
    (answer,) = daemon.call("StreamPodSandboxMetrics")
    assert {m.pod_sandbox_id for m in answer.pod_sandbox_metrics} == {pod, other}
    remove_pod(daemon, other)


def test_an_ended_container_keeps_its_writable_layer(daemon: Daemon, pod: str) -> None:
    """It uses disk but nothing else; removed, it is not found."""
    container = start(daemon, pod, container_config(command=["sh", "-c", "dd if=/dev/zero of=/f bs=1M count=2"]))
    eventually(lambda: not stats(daemon, container).HasField("cpu"), "it ended")
    found = stats(daemon, container)
    assert found.writable_layer.used_bytes.value >= 2 << 20
    assert not found.HasField("memory")
    assert container in listed(daemon)
    daemon.call("RemoveContainer", container_id=container)
    with pytest.raises(grpc.RpcError) as caught:
        stats(daemon, container)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


@pytest.mark.fact("PodSandboxStats", "ListPodSandboxStats")
def test_a_pods_figures(daemon: Daemon, pod: str) -> None:
    """Row PodSandboxStats: cpu, memory, network (default and others), process, containers and io."""
    netns = daemon.run / "pods" / pod / "ns/net"
    ip("link", "add", "net1", "type", "veth", "peer", "name", "net1p", netns=str(netns))
    container = start(daemon, pod, container_config(command=["sh", "-c", "sleep 1000 & exec sleep 1000"]))
    gateway = execute(daemon, container, "sh", "-c", "ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p'")[1].strip()
    before = daemon.call("PodSandboxStats", pod_sandbox_id=pod).stats
    execute(daemon, container, "sh", "-c", f"ping -c 1 -s 1000 {gateway}")
    after = daemon.call("PodSandboxStats", pod_sandbox_id=pod).stats
    linux = after.linux
    assert (after.attributes.id, after.attributes.metadata.namespace) == (pod, "test")
    assert linux.network.default_interface.name == "eth0"
    sent = linux.network.default_interface.tx_bytes.value - before.linux.network.default_interface.tx_bytes.value
    assert sent >= 1000
    assert {i.name for i in linux.network.interfaces} == {"net1", "net1p"}
    assert not unset(linux.network.default_interface)
    assert linux.process.process_count.value == 2
    assert [c.attributes.id for c in linux.containers] == [container]
    assert linux.memory.usage_bytes.value >= linux.containers[0].memory.rss_bytes.value > 0
    assert linux.cpu.usage_core_nano_seconds.value > before.linux.cpu.usage_core_nano_seconds.value > 0
    assert linux.io.timestamp > 0


def test_a_pod_on_the_hosts_network_has_no_network_figures(daemon: Daemon) -> None:
    """`network` left out, all else there."""
    config = pod_config()
    config.linux.security_context.namespace_options.network = cri.NODE
    pod = run_pod(daemon, config)
    (found,) = daemon.call("ListPodSandboxStats", filter=cri.PodSandboxStatsFilter(id=pod)).stats
    assert not found.linux.HasField("network")
    assert unset(found.linux) == ["network"]
    assert not daemon.call("ListPodSandboxMetrics").pod_metrics[0].metrics
    remove_pod(daemon, pod)


@pytest.mark.fact("UNIMPLEMENTED only where it is")
def test_the_kubelets_probe(daemon: Daemon) -> None:
    """PodSandboxStats("") is asked once to see whether the RPC exists: any code but UNIMPLEMENTED says yes."""
    with pytest.raises(grpc.RpcError) as caught:
        daemon.call("PodSandboxStats", pod_sandbox_id="")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


@pytest.mark.fact("List never waits")
def test_a_frozen_container_delays_no_list(daemon: Daemon, pod: str) -> None:
    """A container whose processes cannot move is measured like any other."""
    container = start(daemon, pod)
    freezers = cgroup_files(daemon, container, "freezer.state") or cgroup_files(daemon, container, "cgroup.freeze")
    frozen, thawed = ("FROZEN", "THAWED") if freezers[0].name == "freezer.state" else ("1", "0")
    freezers[0].write_text(frozen)
    try:
        for name in ("ListContainerStats", "ListPodSandboxStats", "ListPodSandboxMetrics"):
            daemon.call(name, deadline=2)
        assert stats(daemon, container).memory.usage_bytes.value > 0
    finally:
        freezers[0].write_text(thawed)


def test_created_containers_are_measured(daemon: Daemon, pod: str) -> None:
    """A container that waits for its start has a cgroup, and is listed with it."""
    container = create(daemon, pod)
    assert stats(daemon, container).cpu.HasField("usage_nano_cores")
    assert listed(daemon) == [container]


@pytest.mark.fact("ListMetricDescriptors", "ListPodSandboxMetrics")
def test_every_described_metric_has_a_sample(daemon: Daemon, pod: str) -> None:
    """Row ListMetricDescriptors: 56, help and labels, a sample of each but those excused, as many values as keys."""
    config = container_config()
    config.linux.resources.CopyFrom(
        cri.LinuxContainerResources(
            cpu_period=100000,
            cpu_quota=20000,
            cpu_shares=1024,
            memory_limit_in_bytes=64 << 20,
            memory_swap_limit_in_bytes=64 << 20,
        )
    )
    container = start(daemon, pod, config)
    execute(daemon, container, "sh", "-c", "mkdir -p /t; for i in 1 2 3; do echo hi > /t/f$i; done")
    keys = {d.name: list(d.label_keys) for d in daemon.call("ListMetricDescriptors").descriptors}
    assert len(keys) == 56
    (mine,) = daemon.call("ListPodSandboxMetrics").pod_metrics
    assert mine.pod_sandbox_id == pod
    (of_container,) = mine.container_metrics
    assert of_container.container_id == container
    values: dict[str, int] = {}
    for metric in [*mine.metrics, *of_container.metrics]:
        assert len(metric.label_values) == len(keys[metric.name]), metric.name
        assert metric.HasField("value")
        labels = dict(zip(keys[metric.name], metric.label_values, strict=True))
        assert (labels["namespace"], labels["pod"].startswith("pod")) == ("test", True)
        assert labels["container"] == ("POD" if metric.name.startswith("container_network") else "c")
        values.setdefault(metric.name, metric.value.value)
    assert set(keys) - set(values) <= EXEMPT
    assert values["container_processes"] == 2
    assert values["container_fs_usage_bytes"] > 0
    assert values["container_spec_cpu_quota"] == 20000
    assert values["container_spec_memory_limit_bytes"] == 64 << 20
    assert values["container_file_descriptors"] > 0


def test_crictl_shows_them(daemon: Daemon, pod: str) -> None:
    """`crictl stats`, `statsp` and `metricsp` work."""
    container = start(daemon, pod)
    assert container[:13] in daemon.crictl("stats", "--seconds", "0")
    assert pod[:13] in daemon.crictl("statsp", "--seconds", "0")
    assert "container_last_seen" in daemon.crictl("metricsp")


def test_a_removed_pod_leaves_no_figures(daemon: Daemon) -> None:
    """Pods that are gone are in no list."""
    pod = run_pod(daemon)
    start(daemon, pod)
    remove_pod(daemon, pod)
    assert pod not in [s.attributes.id for s in daemon.call("ListPodSandboxStats").stats]
    assert pod not in [m.pod_sandbox_id for m in daemon.call("ListPodSandboxMetrics").pod_metrics]


def test_ids_on_the_command_line(daemon: Daemon, pod: str) -> None:
    """`crictl stats ID` asks by the beginning of an id."""
    container = start(daemon, pod)
    assert container[:13] in daemon.crictl("stats", "--seconds", "0", container[:13])
