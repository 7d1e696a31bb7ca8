"""Samples of the named metrics from the measurements: tables of (metric, further label values, value)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from crishim.cri.metrics.descriptors import BY_NAME
from crishim.model import ContainerRecord
from crishim.pb import cri_pb2 as cri
from crishim.stats.block_devices import Filesystem
from crishim.stats.measurements import Detail, Interface, Io, Pressure, Usage
from crishim.stats.processes import Processes

Value = tuple[str, tuple[str, ...], int]
NS = 1_000_000_000
UNLIMITED = 1 << 62  # a limit above this means none
DEFAULT_PERIOD, DEFAULT_SHARES = 100_000, 1024  # the kernel's defaults, if the container asked for none


def metrics(values: Iterable[Value], labels: Sequence[str], at: int) -> list[cri.Metric]:
    """Values as messages. labels: of BASE_LABELS, in their order; at: ns since the epoch."""
    return [
        cri.Metric(
            name=name,
            timestamp=at,
            metric_type=BY_NAME[name].kind,
            label_values=[*labels, *further],
            value=cri.UInt64Value(value=value),
        )
        for name, further, value in values
    ]


def of_usage(usage: Usage) -> Iterator[Value]:
    memory = usage.memory
    yield "container_cpu_usage_seconds_total", ("total",), usage.cpu // NS
    yield "container_memory_rss", (), memory.rss
    yield "container_memory_swap", (), memory.swap
    yield "container_memory_usage_bytes", (), memory.usage
    yield "container_memory_working_set_bytes", (), memory.working_set
    yield "container_memory_failures_total", ("pgfault", "hierarchy"), memory.page_faults
    yield "container_memory_failures_total", ("pgmajfault", "hierarchy"), memory.major_page_faults
    yield "container_last_seen", (), usage.taken_at // NS
    yield from _of_pressure("cpu", usage.cpu_pressure)
    yield from _of_pressure("memory", usage.memory_pressure)
    yield from _of_pressure("io", usage.io_pressure)


def of_detail(detail: Detail) -> Iterator[Value]:
    yield "container_cpu_user_seconds_total", (), detail.cpu_user // NS
    yield "container_cpu_system_seconds_total", (), detail.cpu_system // NS
    yield "container_cpu_cfs_periods_total", (), detail.periods
    yield "container_cpu_cfs_throttled_periods_total", (), detail.throttled_periods
    yield "container_cpu_cfs_throttled_seconds_total", (), detail.throttled // NS
    yield "container_memory_cache", (), detail.cache
    yield "container_memory_kernel_usage", (), detail.kernel
    yield "container_memory_mapped_file", (), detail.mapped_file
    yield "container_memory_failcnt", (), detail.limit_hits
    yield "container_memory_max_usage_bytes", (), detail.peak
    yield "container_memory_failures_total", ("pgfault", "container"), detail.own_page_faults
    yield "container_memory_failures_total", ("pgmajfault", "container"), detail.own_major_page_faults
    yield "container_oom_events_total", (), detail.oom_kills
    yield "container_threads", (), detail.threads
    yield "container_threads_max", (), detail.threads_limit or 0
    for size, pages in detail.huge_pages.items():
        yield "container_hugetlb_usage_bytes", (size,), pages.usage
        if pages.peak is not None:
            yield "container_hugetlb_max_usage_bytes", (size,), pages.peak


def of_io(detail: Detail, names: Mapping[tuple[int, int], str], filesystem: Filesystem) -> Iterator[Value]:
    """names: /dev names of block devices by their numbers.

    A container without I/O gets zeros for the device of its file system: every described metric has a sample.
    """
    none = tuple(Io(filesystem.major, filesystem.minor, operation) for operation in ("Read", "Write"))
    names = names if detail.io else {(filesystem.major, filesystem.minor): filesystem.device}
    for io in detail.io or none:
        device = names.get((io.major, io.minor), f"{io.major}:{io.minor}")
        numbers = (device, str(io.major), str(io.minor), io.operation)
        yield "container_blkio_device_usage_total", numbers, io.bytes
        if io.operation in ("Read", "Write"):
            verb = io.operation.lower()
            yield f"container_fs_{verb}s_bytes_total", (device,), io.bytes
            yield f"container_fs_{verb}s_total", (device,), io.count


def of_filesystem(filesystem: Filesystem, used: int | None) -> Iterator[Value]:
    """used: bytes in the writable layer; None where that is not known yet."""
    device = (filesystem.device,)
    yield "container_fs_inodes_free", device, filesystem.inodes_free
    yield "container_fs_inodes_total", device, filesystem.inodes
    yield "container_fs_limit_bytes", device, filesystem.bytes
    if used is not None:
        yield "container_fs_usage_bytes", device, used


def of_processes(found: Processes) -> Iterator[Value]:
    yield "container_processes", (), found.count
    yield "container_file_descriptors", (), found.descriptors
    yield "container_sockets", (), found.sockets
    if found.max_open_files is not None:
        yield "container_ulimits_soft", ("max_open_files",), found.max_open_files


def of_record(container: ContainerRecord) -> Iterator[Value]:
    """Start time and resource limits."""
    given = cri.LinuxContainerResources.FromString(container.resources)
    memory = _bytes(given.memory_limit_in_bytes)
    yield "container_start_time_seconds", (), (container.started_at or container.created_at) // NS
    yield "container_spec_cpu_period", (), given.cpu_period or DEFAULT_PERIOD
    yield "container_spec_cpu_shares", (), given.cpu_shares or DEFAULT_SHARES
    if given.cpu_quota > 0:
        yield "container_spec_cpu_quota", (), given.cpu_quota
    yield "container_spec_memory_limit_bytes", (), memory
    # No swap beside a limit unless asked for: see crishim/spec/resources.py.
    swap = _bytes(given.memory_swap_limit_in_bytes) if given.memory_swap_limit_in_bytes else memory
    yield "container_spec_memory_swap_limit_bytes", (), swap
    kept = given.unified.get("memory.min", "0").strip()
    yield "container_spec_memory_reservation_limit_bytes", (), int(kept) if kept.isdigit() else 0


def of_interfaces(interfaces: Iterable[Interface]) -> Iterator[Value]:
    for i in interfaces:
        name = (i.name,)
        yield "container_network_receive_bytes_total", name, i.rx_bytes
        yield "container_network_receive_packets_total", name, i.rx_packets
        yield "container_network_receive_packets_dropped_total", name, i.rx_dropped
        yield "container_network_receive_errors_total", name, i.rx_errors
        yield "container_network_transmit_bytes_total", name, i.tx_bytes
        yield "container_network_transmit_packets_total", name, i.tx_packets
        yield "container_network_transmit_packets_dropped_total", name, i.tx_dropped
        yield "container_network_transmit_errors_total", name, i.tx_errors


def _of_pressure(resource: str, pressure: Pressure | None) -> Iterator[Value]:
    if pressure is not None:
        yield f"container_pressure_{resource}_stalled_seconds_total", (), pressure.full.total // NS
        yield f"container_pressure_{resource}_waiting_seconds_total", (), pressure.some.total // NS


def _bytes(limit: int) -> int:
    return limit if 0 < limit < UNLIMITED else 0
