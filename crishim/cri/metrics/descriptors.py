"""The 56 named metrics, which the kubelet exposes for containers on /metrics/cadvisor.

Names and meanings are cAdvisor's, so that dashboards go on working; so are the labels, as the kubelet attaches them.
Values are whole numbers in the CRI: seconds are rounded down.
"""

from typing import NamedTuple

from crishim.pb import cri_pb2 as cri

BASE_LABELS = ("id", "name", "image", "namespace", "pod", "container")
COUNTER, GAUGE = cri.COUNTER, cri.GAUGE


class Descriptor(NamedTuple):
    """A metric: labels are those it has beside BASE_LABELS."""

    name: str
    kind: "cri.MetricType.ValueType"
    help: str
    labels: tuple[str, ...] = ()


_DEVICE = ("device",)
_INTERFACE = ("interface",)
_PAGE_SIZE = ("pagesize",)

DESCRIPTORS = (
    Descriptor("container_cpu_user_seconds_total", COUNTER, "CPU time consumed in user mode, in seconds."),
    Descriptor("container_cpu_system_seconds_total", COUNTER, "CPU time consumed in the kernel, in seconds."),
    Descriptor("container_cpu_usage_seconds_total", COUNTER, "CPU time consumed, in seconds.", ("cpu",)),
    Descriptor("container_cpu_cfs_periods_total", COUNTER, "Periods in which the CPU quota was enforced."),
    Descriptor("container_cpu_cfs_throttled_periods_total", COUNTER, "Periods in which the CPU quota ran out."),
    Descriptor("container_cpu_cfs_throttled_seconds_total", COUNTER, "Time spent throttled, in seconds."),
    Descriptor("container_fs_inodes_free", GAUGE, "Free inodes of the writable layer's file system.", _DEVICE),
    Descriptor("container_fs_inodes_total", GAUGE, "Inodes of the writable layer's file system.", _DEVICE),
    Descriptor("container_fs_limit_bytes", GAUGE, "Bytes the writable layer's file system holds.", _DEVICE),
    Descriptor("container_fs_usage_bytes", GAUGE, "Bytes in the writable layer.", _DEVICE),
    Descriptor("container_fs_reads_bytes_total", COUNTER, "Bytes read from a device.", _DEVICE),
    Descriptor("container_fs_reads_total", COUNTER, "Reads completed by a device.", _DEVICE),
    Descriptor("container_fs_writes_bytes_total", COUNTER, "Bytes written to a device.", _DEVICE),
    Descriptor("container_fs_writes_total", COUNTER, "Writes completed by a device.", _DEVICE),
    Descriptor(
        "container_blkio_device_usage_total",
        COUNTER,
        "Bytes transferred by an operation on a device.",
        ("device", "major", "minor", "operation"),
    ),
    Descriptor("container_hugetlb_usage_bytes", GAUGE, "Huge pages in use, in bytes.", _PAGE_SIZE),
    Descriptor("container_hugetlb_max_usage_bytes", GAUGE, "The most huge pages in use so far, in bytes.", _PAGE_SIZE),
    Descriptor("container_memory_cache", GAUGE, "Page cache, in bytes."),
    Descriptor("container_memory_rss", GAUGE, "Anonymous memory, in bytes."),
    Descriptor("container_memory_kernel_usage", GAUGE, "Kernel memory, in bytes."),
    Descriptor("container_memory_mapped_file", GAUGE, "Mapped files, in bytes."),
    Descriptor("container_memory_swap", GAUGE, "Swap in use, in bytes."),
    Descriptor("container_memory_failcnt", COUNTER, "How often the memory limit was hit."),
    Descriptor("container_memory_usage_bytes", GAUGE, "Memory in use, in bytes, page cache included."),
    Descriptor("container_memory_max_usage_bytes", GAUGE, "The most memory in use so far, in bytes."),
    Descriptor("container_memory_working_set_bytes", GAUGE, "Memory in use but inactive page cache, in bytes."),
    Descriptor("container_memory_failures_total", COUNTER, "Page faults.", ("failure_type", "scope")),
    Descriptor("container_network_receive_bytes_total", COUNTER, "Bytes received.", _INTERFACE),
    Descriptor("container_network_receive_packets_total", COUNTER, "Packets received.", _INTERFACE),
    Descriptor("container_network_receive_packets_dropped_total", COUNTER, "Packets dropped on arrival.", _INTERFACE),
    Descriptor("container_network_receive_errors_total", COUNTER, "Errors while receiving.", _INTERFACE),
    Descriptor("container_network_transmit_bytes_total", COUNTER, "Bytes sent.", _INTERFACE),
    Descriptor("container_network_transmit_packets_total", COUNTER, "Packets sent.", _INTERFACE),
    Descriptor("container_network_transmit_packets_dropped_total", COUNTER, "Packets dropped, not sent.", _INTERFACE),
    Descriptor("container_network_transmit_errors_total", COUNTER, "Errors while sending.", _INTERFACE),
    Descriptor("container_oom_events_total", COUNTER, "Processes killed because the memory limit was reached."),
    Descriptor("container_file_descriptors", GAUGE, "Open file descriptors."),
    Descriptor("container_processes", GAUGE, "Processes."),
    Descriptor("container_sockets", GAUGE, "Open sockets."),
    Descriptor("container_threads", GAUGE, "Threads."),
    Descriptor("container_threads_max", GAUGE, "Threads allowed; 0 without a limit."),
    Descriptor("container_ulimits_soft", GAUGE, "Soft resource limits of the first process.", ("ulimit",)),
    Descriptor("container_last_seen", GAUGE, "When the container was last looked at, seconds since the epoch."),
    Descriptor("container_spec_cpu_period", GAUGE, "Period of the CPU quota, in microseconds."),
    Descriptor("container_spec_cpu_quota", GAUGE, "CPU quota, in microseconds a period."),
    Descriptor("container_spec_cpu_shares", GAUGE, "CPU shares."),
    Descriptor("container_spec_memory_limit_bytes", GAUGE, "Memory limit, in bytes; 0 without one."),
    Descriptor("container_spec_memory_reservation_limit_bytes", GAUGE, "Memory kept back, in bytes; 0 without any."),
    Descriptor("container_spec_memory_swap_limit_bytes", GAUGE, "Limit of memory and swap, in bytes; 0 without one."),
    Descriptor("container_start_time_seconds", GAUGE, "When the container started, seconds since the epoch."),
    Descriptor("container_pressure_cpu_stalled_seconds_total", COUNTER, "Time all tasks waited for a CPU, in seconds."),
    Descriptor("container_pressure_cpu_waiting_seconds_total", COUNTER, "Time a task waited for a CPU, in seconds."),
    Descriptor(
        "container_pressure_memory_stalled_seconds_total", COUNTER, "Time all tasks waited for memory, in seconds."
    ),
    Descriptor(
        "container_pressure_memory_waiting_seconds_total", COUNTER, "Time a task waited for memory, in seconds."
    ),
    Descriptor("container_pressure_io_stalled_seconds_total", COUNTER, "Time all tasks waited for IO, in seconds."),
    Descriptor("container_pressure_io_waiting_seconds_total", COUNTER, "Time a task waited for IO, in seconds."),
)
BY_NAME = {d.name: d for d in DESCRIPTORS}


def encode() -> list[cri.MetricDescriptor]:
    """The descriptors as ListMetricDescriptors answers them."""
    return [cri.MetricDescriptor(name=d.name, help=d.help, label_keys=[*BASE_LABELS, *d.labels]) for d in DESCRIPTORS]
