"""Measurements as CRI messages. Every wrapper is set, zero or not: a missing one is an error to the kubelet."""

import time
from collections.abc import Sequence

from crishim.model import ContainerRecord, PodRecord
from crishim.pb import cri_pb2 as cri
from crishim.stats.layers import LayerUsage
from crishim.stats.measurements import Interface, Pressure, Stall, Usage
from crishim.stats.provider import Reading

DEFAULT_INTERFACE = "eth0"


def container_stats(container: ContainerRecord, usage: Usage | None, nano_cores: int) -> cri.ContainerStats:
    """A container's usage as ContainerStats, without its writable layer. usage: None if its cgroup is gone."""
    config = container.parse_config()
    stats = cri.ContainerStats(
        attributes=cri.ContainerAttributes(
            id=container.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
        )
    )
    if usage is not None:
        stats.cpu.CopyFrom(cpu_usage(usage, nano_cores))
        stats.memory.CopyFrom(memory_usage(usage))
        stats.swap.CopyFrom(swap_usage(usage))
        stats.io.CopyFrom(io_usage(usage))
    return stats


def pod_stats(pod: PodRecord, reading: Reading, members: list[cri.ContainerStats]) -> cri.PodSandboxStats:
    """A pod's usage as PodSandboxStats; zero while its cgroup does not exist yet."""
    config = pod.parse_config()
    linux = cri.LinuxPodSandboxStats(containers=members)
    usage = reading.usages.get(pod.id) or Usage(taken_at=time.time_ns())
    linux.cpu.CopyFrom(cpu_usage(usage, reading.nano_cores.get(pod.id, 0)))
    linux.memory.CopyFrom(memory_usage(usage))
    linux.io.CopyFrom(io_usage(usage))
    linux.process.timestamp = usage.taken_at
    linux.process.process_count.value = reading.process_counts.get(pod.id, 0)
    interfaces = reading.interfaces.get(pod.id)
    if interfaces:
        linux.network.CopyFrom(network_usage(interfaces, usage.taken_at))
    attributes = cri.PodSandboxAttributes(
        id=pod.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
    )
    return cri.PodSandboxStats(attributes=attributes, linux=linux)


def cpu_usage(usage: Usage, nano_cores: int) -> cri.CpuUsage:
    return cri.CpuUsage(
        timestamp=usage.taken_at,
        usage_core_nano_seconds=_wrapped(usage.cpu),
        usage_nano_cores=_wrapped(nano_cores),
        psi=psi(usage.cpu_pressure),
    )


def memory_usage(usage: Usage) -> cri.MemoryUsage:
    """available_bytes is the limit less the working set; 0 without a limit, as the kubelet expects."""
    memory = usage.memory
    return cri.MemoryUsage(
        timestamp=usage.taken_at,
        working_set_bytes=_wrapped(memory.working_set),
        available_bytes=_wrapped(_left(memory.limit, memory.working_set)),
        usage_bytes=_wrapped(memory.usage),
        rss_bytes=_wrapped(memory.rss),
        page_faults=_wrapped(memory.page_faults),
        major_page_faults=_wrapped(memory.major_page_faults),
        psi=psi(usage.memory_pressure),
    )


def swap_usage(usage: Usage) -> cri.SwapUsage:
    memory = usage.memory
    return cri.SwapUsage(
        timestamp=usage.taken_at,
        swap_available_bytes=_wrapped(_left(memory.swap_limit, memory.swap)),
        swap_usage_bytes=_wrapped(memory.swap),
    )


def io_usage(usage: Usage) -> cri.IoUsage:
    return cri.IoUsage(timestamp=usage.taken_at, psi=psi(usage.io_pressure))


def psi(pressure: Pressure | None) -> cri.PsiStats | None:
    if pressure is None:
        return None
    return cri.PsiStats(Full=_stall(pressure.full), Some=_stall(pressure.some))


def writable_layer(layer: LayerUsage, mountpoint: str) -> cri.FilesystemUsage:
    """mountpoint: an existing directory on the layer's file system; the kubelet calls statfs(2) on it."""
    return cri.FilesystemUsage(
        timestamp=layer.taken_at,
        fs_id=cri.FilesystemIdentifier(mountpoint=mountpoint),
        used_bytes=_wrapped(layer.bytes),
        inodes_used=_wrapped(layer.inodes),
    )


def network_usage(interfaces: Sequence[Interface], taken_at: int) -> cri.NetworkUsage:
    """eth0, or else the first interface, as the default interface; and all others."""
    default = next((i for i in interfaces if i.name == DEFAULT_INTERFACE), interfaces[0])
    return cri.NetworkUsage(
        timestamp=taken_at,
        default_interface=_interface(default),
        interfaces=[_interface(i) for i in interfaces if i is not default],
    )


def _interface(i: Interface) -> cri.NetworkInterfaceUsage:
    return cri.NetworkInterfaceUsage(
        name=i.name,
        rx_bytes=_wrapped(i.rx_bytes),
        rx_errors=_wrapped(i.rx_errors),
        tx_bytes=_wrapped(i.tx_bytes),
        tx_errors=_wrapped(i.tx_errors),
    )


def _stall(stall: Stall) -> cri.PsiData:
    return cri.PsiData(Total=stall.total, Avg10=stall.avg10, Avg60=stall.avg60, Avg300=stall.avg300)


def _left(limit: int | None, used: int) -> int:
    return max(limit - used, 0) if limit is not None else 0


def _wrapped(value: int) -> cri.UInt64Value:
    return cri.UInt64Value(value=value)
