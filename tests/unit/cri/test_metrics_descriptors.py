"""The named metrics."""

import pytest

from crishim.cri.metrics.descriptors import BASE_LABELS, BY_NAME, DESCRIPTORS, encode

# What newer critest asks for (pkg/validate/pod.go of cri-tools, 1.37).
EXPECTED = """
blkio_device_usage_total cpu_cfs_periods_total cpu_cfs_throttled_periods_total cpu_cfs_throttled_seconds_total
cpu_system_seconds_total cpu_usage_seconds_total cpu_user_seconds_total file_descriptors fs_inodes_free fs_inodes_total
fs_limit_bytes fs_reads_bytes_total fs_reads_total fs_usage_bytes fs_writes_bytes_total fs_writes_total
hugetlb_max_usage_bytes hugetlb_usage_bytes last_seen memory_cache memory_failcnt memory_failures_total
memory_kernel_usage memory_mapped_file memory_max_usage_bytes memory_rss memory_swap memory_usage_bytes
memory_working_set_bytes network_receive_bytes_total network_receive_errors_total
network_receive_packets_dropped_total network_receive_packets_total network_transmit_bytes_total
network_transmit_errors_total network_transmit_packets_dropped_total network_transmit_packets_total oom_events_total
pressure_cpu_stalled_seconds_total pressure_cpu_waiting_seconds_total pressure_io_stalled_seconds_total
pressure_io_waiting_seconds_total pressure_memory_stalled_seconds_total pressure_memory_waiting_seconds_total processes
sockets spec_cpu_period spec_cpu_quota spec_cpu_shares spec_memory_limit_bytes spec_memory_reservation_limit_bytes
spec_memory_swap_limit_bytes start_time_seconds threads threads_max ulimits_soft
"""


@pytest.mark.fact("ListMetricDescriptors", "ListPodSandboxMetrics")
def test_all_named_metrics_are_described() -> None:
    """Row ListMetricDescriptors: the 56 names, each once."""
    assert sorted(d.name for d in DESCRIPTORS) == sorted(f"container_{name}" for name in EXPECTED.split())
    assert len(BY_NAME) == len(DESCRIPTORS) == 56


@pytest.mark.fact("ListMetricDescriptors", "ListPodSandboxMetrics")
def test_help_and_labels_are_there() -> None:
    """Each has a help text and label keys, the common ones first."""
    for descriptor in encode():
        assert descriptor.help.endswith(".")
        assert tuple(descriptor.label_keys[: len(BASE_LABELS)]) == BASE_LABELS
        assert len(set(descriptor.label_keys)) == len(descriptor.label_keys)
