"""The RPCs of container and pod statistics.

Only counters in memory are read: no lock is taken and no process is asked, so a pod that hangs delays no call. Every
sub-message the kubelet reads is set, zero or not, except `psi` if the kernel does not count it, `network` of pods that
use the host's, and all but the writable layer of a container that has ended.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from crishim.cri.batches import batches
from crishim.cri.containers import visible as visible_container
from crishim.cri.filters import selects_labels
from crishim.cri.message_limit import fit
from crishim.cri.pods import visible as visible_pod
from crishim.cri.usage import container_stats, pod_stats, writable_layer
from crishim.lifecycle import PodState, has_process, is_visible_container, is_visible_pod
from crishim.model import ContainerRecord, PodRecord
from crishim.node import Node
from crishim.pb import cri_pb2 as cri
from crishim.stats.layers import Layer, LayerUsage
from crishim.stats.provider import MeasuredGroup, Reading

LIST_PATIENCE = 0.05  # seconds a list waits for layers that were not measured before
PATIENCE = 1.0  # seconds ContainerStats waits for a new measurement of its one layer


async def ContainerStats(node: Node, request: cri.ContainerStatsRequest) -> cri.ContainerStatsResponse:
    container = visible_container(node.containers, request.container_id)
    return cri.ContainerStatsResponse(stats=(await of_containers(node, [container], fresh=True))[0])


async def ListContainerStats(node: Node, request: cri.ListContainerStatsRequest) -> cri.ListContainerStatsResponse:
    found = await of_containers(node, select_containers(node.containers, request.filter))
    return cri.ListContainerStatsResponse(stats=fit(found, "container stats", _described))


async def StreamContainerStats(
    node: Node, request: cri.StreamContainerStatsRequest
) -> AsyncIterator[cri.StreamContainerStatsResponse]:
    for batch in batches(await of_containers(node, select_containers(node.containers, request.filter))):
        yield cri.StreamContainerStatsResponse(container_stats=batch)


async def PodSandboxStats(node: Node, request: cri.PodSandboxStatsRequest) -> cri.PodSandboxStatsResponse:
    pod = visible_pod(node.pods, request.pod_sandbox_id)
    return cri.PodSandboxStatsResponse(stats=(await of_pods(node, [pod]))[0])


async def ListPodSandboxStats(node: Node, request: cri.ListPodSandboxStatsRequest) -> cri.ListPodSandboxStatsResponse:
    found = await of_pods(node, select_pods(node.pods, request.filter))
    return cri.ListPodSandboxStatsResponse(stats=fit(found, "pod stats", _described))


async def StreamPodSandboxStats(
    node: Node, request: cri.StreamPodSandboxStatsRequest
) -> AsyncIterator[cri.StreamPodSandboxStatsResponse]:
    for batch in batches(await of_pods(node, select_pods(node.pods, request.filter))):
        yield cri.StreamPodSandboxStatsResponse(pod_sandbox_stats=batch)


async def of_containers(
    node: Node, chosen: Sequence[ContainerRecord], *, fresh: bool = False
) -> list[cri.ContainerStats]:
    """Statistics of each container. fresh: measure the writable layers now, and wait for it."""
    reading, layers = await asyncio.gather(
        node.stats.read(container_groups(chosen)), layer_usage(node, chosen, fresh=fresh)
    )
    return [_encode(node, c, reading, layers) for c in chosen]


async def of_pods(node: Node, chosen: Sequence[PodRecord]) -> list[cri.PodSandboxStats]:
    """Statistics of each pod and of its containers."""
    ids = {pod.id for pod in chosen}
    members = [c for c in measurable(node.containers) if c.pod_id in ids]
    groups = [MeasuredGroup(p.id, node.launcher.pod_cgroup(p), p.created_at, count=True) for p in chosen]
    reading, layers = await asyncio.gather(
        node.stats.read([*groups, *container_groups(members)], network_handles(chosen)), layer_usage(node, members)
    )
    encoded: dict[str, list[cri.ContainerStats]] = {}
    for container in members:
        encoded.setdefault(container.pod_id, []).append(_encode(node, container, reading, layers))
    return [pod_stats(pod, reading, encoded.get(pod.id, [])) for pod in chosen]


async def layer_usage(node: Node, chosen: Iterable[ContainerRecord], *, fresh: bool = False) -> dict[str, LayerUsage]:
    """The usage of each container's writable layer, by container id; without those not measured yet."""
    wanted = {c.id: Layer(node.filesystems.upper(c.id), c.finished_at) for c in chosen}
    return await node.layers.usage(wanted, patience=PATIENCE if fresh else LIST_PATIENCE, fresh=fresh)


def _encode(node: Node, c: ContainerRecord, reading: Reading, layers: dict[str, LayerUsage]) -> cri.ContainerStats:
    stats = container_stats(c, reading.usages.get(c.id), reading.nano_cores.get(c.id, 0))
    layer = layers.get(c.id)
    if layer is not None:
        stats.writable_layer.CopyFrom(writable_layer(layer, str(node.filesystems.writable)))
    return stats


def _described(item: cri.ContainerStats | cri.PodSandboxStats) -> list[Any]:
    inner = item.linux.containers if isinstance(item, cri.PodSandboxStats) else []
    return [item.attributes, *(container.attributes for container in inner)]


def measurable(containers: Iterable[ContainerRecord]) -> list[ContainerRecord]:
    """The containers with something to measure, newest first: an exited one still has its writable layer."""
    shown = (c for c in containers if is_visible_container(c.state))
    return sorted(shown, key=lambda c: -c.created_at)


def container_groups(chosen: Iterable[ContainerRecord]) -> list[MeasuredGroup]:
    """The cgroups of the containers that have processes."""
    return [MeasuredGroup(c.id, c.cgroup, c.started_at or c.created_at) for c in chosen if has_process(c.state)]


def network_handles(chosen: Iterable[PodRecord]) -> dict[str, str]:
    """The paths of the pods' own network namespaces, by pod id."""
    return {p.id: p.namespaces.net for p in chosen if p.namespaces.net and p.state is PodState.READY}


def select_containers(containers: Iterable[ContainerRecord], wanted: cri.ContainerStatsFilter) -> list[ContainerRecord]:
    """The containers that match every part of a filter; an empty filter is all."""
    return [
        c
        for c in measurable(containers)
        if c.id.startswith(wanted.id)
        and c.pod_id.startswith(wanted.pod_sandbox_id)
        and (not wanted.label_selector or selects_labels(wanted.label_selector, c.parse_config().labels))
    ]


def select_pods(pods: Iterable[PodRecord], wanted: cri.PodSandboxStatsFilter) -> list[PodRecord]:
    """The pods that match every part of a filter, newest first; an empty filter is all."""
    shown = [p for p in pods if is_visible_pod(p.state)]
    return [
        p
        for p in sorted(shown, key=lambda p: -p.created_at)
        if p.id.startswith(wanted.id)
        and (not wanted.label_selector or selects_labels(wanted.label_selector, p.parse_config().labels))
    ]
