"""Figures as CRI messages."""

import pytest

from crishim.cri.usage import container_stats, network_usage, pod_stats, writable_layer
from crishim.lifecycle import PodState
from crishim.pb import cri_pb2 as cri
from crishim.stats.layers import LayerUsage
from crishim.stats.measurements import Interface, Memory, Pressure, Stall, Usage
from crishim.stats.provider import Reading
from tests.unit.cri.records import container, pod

USAGE = Usage(
    taken_at=200,
    cpu=5000,
    memory=Memory(100, 60, 40, 7, 1, limit=1000, swap=5, swap_limit=50),
    cpu_pressure=Pressure(some=Stall(1.0, 2.0, 3.0, 4000), full=Stall(total=5000)),
)


def wrappers(message: object) -> list[str]:
    """Names of the wrapper fields a message has, and has not, as `name` and `!name`."""
    fields = [f for f in message.DESCRIPTOR.fields if f.message_type and f.message_type.name.startswith("UInt")]  # type: ignore[attr-defined]
    return sorted(("" if message.HasField(f.name) else "!") + f.name for f in fields)  # type: ignore[attr-defined]


def test_container_stats() -> None:
    """Rows ContainerStats: every figure in its place, with its time."""
    stats = container_stats(container(), USAGE, 77)
    assert (stats.attributes.id, stats.attributes.metadata.name) == ("c1", "name-c1")
    assert dict(stats.attributes.annotations) == {"a": "b"}
    assert (stats.cpu.usage_core_nano_seconds.value, stats.cpu.usage_nano_cores.value) == (5000, 77)
    assert (stats.memory.usage_bytes.value, stats.memory.working_set_bytes.value) == (100, 60)
    assert (stats.memory.available_bytes.value, stats.memory.rss_bytes.value) == (940, 40)
    assert (stats.memory.page_faults.value, stats.memory.major_page_faults.value) == (7, 1)
    assert (stats.swap.swap_usage_bytes.value, stats.swap.swap_available_bytes.value) == (5, 45)
    assert {stats.cpu.timestamp, stats.memory.timestamp, stats.swap.timestamp, stats.io.timestamp} == {200}


def test_psi_is_set_where_the_kernel_counts_it_and_unset_elsewhere() -> None:
    """A pressure of zero and no pressure are different things."""
    stats = container_stats(container(), USAGE, 0)
    assert (stats.cpu.psi.Some.Total, stats.cpu.psi.Some.Avg60, stats.cpu.psi.Full.Total) == (4000, 2.0, 5000)
    assert not stats.memory.HasField("psi")
    assert not stats.io.HasField("psi")


@pytest.mark.fact("wrappers are set")
def test_every_wrapper_is_set_even_for_zero() -> None:
    """The kubelet takes an unset sub-message for broken."""
    stats = container_stats(container(), Usage(taken_at=1), 0)
    layer = writable_layer(LayerUsage(1, 0, 0), "/w")
    for message in (stats.cpu, stats.memory, stats.swap, layer):
        assert not [name for name in wrappers(message) if name.startswith("!")]
    assert stats.HasField("io")


def test_more_used_than_allowed_leaves_nothing() -> None:
    """A limit that was lowered below the usage leaves 0, not 2^64 less something."""
    usage = Usage(1, memory=Memory(usage=10, working_set=10, limit=4, swap=3, swap_limit=2))
    stats = container_stats(container(), usage, 0)
    assert (stats.memory.available_bytes.value, stats.swap.swap_available_bytes.value) == (0, 0)


def test_an_ended_container_has_attributes_only() -> None:
    """Without a cgroup there is nothing to count: cpu and memory stay unset."""
    stats = container_stats(container(), None, 0)
    assert stats.attributes.metadata.name == "name-c1"
    assert not any(stats.HasField(name) for name in ("cpu", "memory", "swap", "io"))


def test_pod_stats() -> None:
    """Row PodSandboxStats: cpu, memory, network, process, containers and io."""
    reading = Reading({"p1": USAGE}, {"p1": 9}, {"p1": 4}, {"p1": [Interface("eth0", rx_bytes=3)]})
    stats = pod_stats(pod(), reading, [container_stats(container(), USAGE, 0)])
    assert (stats.attributes.id, stats.attributes.metadata.uid) == ("p1", "uid-p1")
    assert (stats.linux.cpu.usage_nano_cores.value, stats.linux.process.process_count.value) == (9, 4)
    assert stats.linux.network.default_interface.rx_bytes.value == 3
    assert [c.attributes.id for c in stats.linux.containers] == ["c1"]
    assert stats.linux.io.timestamp == stats.linux.process.timestamp == stats.linux.network.timestamp == 200


@pytest.mark.fact("wrappers are set")
def test_a_pod_on_the_hosts_network_has_no_network() -> None:
    """`network` is left out, `linux` is there."""
    stats = pod_stats(pod(), Reading({"p1": USAGE}), [])
    assert stats.HasField("linux")
    assert not stats.linux.HasField("network")


def test_a_pod_without_a_cgroup_has_used_nothing() -> None:
    """An idle pod has zeros, with a time, in every wrapper."""
    stats = pod_stats(pod(state=PodState.NOTREADY), Reading(), [])
    assert stats.linux.cpu.HasField("usage_core_nano_seconds")
    assert stats.linux.process.HasField("process_count")
    assert stats.linux.memory.timestamp > 0


def test_eth0_is_the_default_interface_wherever_it_stands() -> None:
    """Secondary interfaces are in `interfaces`, the default one is not among them."""
    usage = network_usage([Interface("net1", rx_bytes=1), Interface("eth0", tx_errors=2), Interface("net2")], 5)
    assert (usage.default_interface.name, usage.default_interface.tx_errors.value) == ("eth0", 2)
    assert [i.name for i in usage.interfaces] == ["net1", "net2"]
    assert wrappers(usage.interfaces[1]) == ["rx_bytes", "rx_errors", "tx_bytes", "tx_errors"]


def test_without_eth0_another_one_is_the_default() -> None:
    """The kubelet needs a default interface whenever there is `network`."""
    assert network_usage([Interface("net1")], 5).default_interface.name == "net1"


@pytest.mark.fact("wrappers are set")
def test_the_writable_layer_names_a_directory() -> None:
    """Its mountpoint is where the kubelet asks for the file system's size."""
    assert writable_layer(LayerUsage(9, 4096, 2), "/w") == cri.FilesystemUsage(
        timestamp=9,
        fs_id=cri.FilesystemIdentifier(mountpoint="/w"),
        used_bytes=cri.UInt64Value(value=4096),
        inodes_used=cri.UInt64Value(value=2),
    )
