"""Samples of the named metrics."""

from itertools import chain

import pytest

from crishim.cri.metrics import samples
from crishim.cri.metrics.descriptors import BASE_LABELS, BY_NAME, COUNTER, GAUGE
from crishim.pb import cri_pb2 as cri
from crishim.stats import v1, v2
from crishim.stats.block_devices import Filesystem
from crishim.stats.measurements import Detail, Interface
from crishim.stats.processes import Processes
from tests.unit.cri.records import container
from tests.unit.stats.recorded import V1, V2

FILESYSTEM = Filesystem("/dev/sda1", 8, 1, bytes=1000, inodes=100, inodes_free=90)
RESOURCES = cri.LinuxContainerResources(
    cpu_period=100000, cpu_quota=20000, cpu_shares=1024, memory_limit_in_bytes=64, memory_swap_limit_in_bytes=96
)


def everything(kind: object, files: dict[str, bytes]) -> list[samples.Value]:
    """All values of a container with these cgroup files."""
    usage, detail = kind.usage(files, 5_500_000_000), kind.detail(files, ("2MB",))  # type: ignore[attr-defined]
    return list(
        chain(
            samples.of_usage(usage),
            samples.of_detail(detail),
            samples.of_io(detail, {(8, 0): "/dev/sda"}, FILESYSTEM),
            samples.of_filesystem(FILESYSTEM, 70),
            samples.of_processes(Processes(2, 9, 3, 1024)),
            samples.of_record(container(resources=RESOURCES)),
            samples.of_interfaces([Interface("eth0", 1, 2, 3, 4, 5, 6, 7, 8)]),
        )
    )


def test_every_described_metric_has_a_sample() -> None:
    """On v2 all but the peak of huge pages, which no v2 file tells; that one is exempt."""
    assert {name for name, _, _ in everything(v2, V2)} == set(BY_NAME) - {"container_hugetlb_max_usage_bytes"}
    without_psi = {n for n in BY_NAME if n.startswith(("container_pressure_io", "container_pressure_memory"))}
    assert {name for name, _, _ in everything(v1, V1)} == set(BY_NAME) - without_psi


@pytest.mark.fact("ListMetricDescriptors", "ListPodSandboxMetrics")
def test_label_values_match_the_keys_in_number() -> None:
    """As many values as keys, or the kubelet drops the metric."""
    for metric in samples.metrics(everything(v2, V2), BASE_LABELS, 5):
        assert len(metric.label_values) == len(BASE_LABELS) + len(BY_NAME[metric.name].labels), metric.name
        assert metric.HasField("value")
        assert metric.timestamp == 5


def test_no_sample_is_there_twice() -> None:
    """Name and labels together are unique: Prometheus refuses a scrape with duplicates."""
    seen = [(name, labels) for name, labels, _ in everything(v2, V2)]
    assert len(seen) == len(set(seen))


def test_kinds() -> None:
    """What only grows is a counter."""
    for name, descriptor in BY_NAME.items():
        grows = name.endswith(("_total", "failcnt")) and name != "container_fs_inodes_total"
        assert descriptor.kind == (COUNTER if grows else GAUGE), name


def test_values_of_v2() -> None:
    """Seconds are rounded down, bytes are bytes."""
    found = {(name, labels): value for name, labels, value in everything(v2, V2)}
    assert found["container_cpu_usage_seconds_total", ("total",)] == 93
    assert found["container_cpu_cfs_throttled_seconds_total", ()] == 15
    assert found["container_last_seen", ()] == 5
    assert found["container_pressure_cpu_waiting_seconds_total", ()] == 48
    assert found["container_fs_reads_bytes_total", ("/dev/sda",)] == 4096000
    assert found["container_fs_writes_total", ("253:1",)] == 4
    assert found["container_blkio_device_usage_total", ("/dev/sda", "8", "0", "Discard")] == 512
    assert found["container_fs_usage_bytes", ("/dev/sda1",)] == 70
    assert found["container_network_transmit_errors_total", ("eth0",)] == 7
    assert found["container_network_receive_packets_dropped_total", ("eth0",)] == 4
    assert found["container_spec_cpu_quota", ()] == 20000
    assert found["container_spec_memory_swap_limit_bytes", ()] == 96
    assert found["container_start_time_seconds", ()] == 110


def test_a_container_that_did_no_io_has_zeros_of_its_file_systems_device() -> None:
    """A described metric needs a sample, and nothing was read or written."""
    found = list(samples.of_io(Detail(), {}, FILESYSTEM))
    assert ("container_fs_reads_total", ("/dev/sda1",), 0) in found
    assert ("container_blkio_device_usage_total", ("/dev/sda1", "8", "1", "Write"), 0) in found


def test_what_is_unlimited_is_zero_or_left_out() -> None:
    """No limit of memory or threads is 0; no quota and no limit of files are no sample."""
    given = cri.LinuxContainerResources(cpu_quota=-1, memory_limit_in_bytes=-1, memory_swap_limit_in_bytes=-1)
    found = {name: value for name, _, value in samples.of_record(container(resources=given))}
    assert found["container_spec_memory_limit_bytes"] == found["container_spec_memory_swap_limit_bytes"] == 0
    assert (found["container_spec_cpu_period"], found["container_spec_cpu_shares"]) == (100000, 1024)
    assert "container_spec_cpu_quota" not in found
    assert "container_ulimits_soft" not in {name for name, _, _ in samples.of_processes(Processes(1))}
    assert ("container_threads_max", (), 0) in list(samples.of_detail(Detail()))


def test_no_swap_limit_is_that_of_memory() -> None:
    """As the container got it: no swap beside a memory limit unless it asked."""
    given = cri.LinuxContainerResources(memory_limit_in_bytes=64)
    found = {name: value for name, _, value in samples.of_record(container(resources=given))}
    assert found["container_spec_memory_swap_limit_bytes"] == 64


def test_a_reservation_is_read_from_unified() -> None:
    """memory.min is what cgroup v2 keeps back; "max" is no number."""
    for text, value in (("134217728", 134217728), ("max", 0)):
        given = cri.LinuxContainerResources(unified={"memory.min": text})
        found = {name: v for name, _, v in samples.of_record(container(resources=given))}
        assert found["container_spec_memory_reservation_limit_bytes"] == value
