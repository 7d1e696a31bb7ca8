"""ListMetricDescriptors, ListPodSandboxMetrics, StreamPodSandboxMetrics.

A pod's own metrics are those of its network, unless it uses the host's; all others are its containers'.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import chain

from crishim.cri.batches import batches
from crishim.cri.metrics import descriptors, samples
from crishim.cri.stats import container_groups, layer_usage, network_handles
from crishim.lifecycle import PodState, has_process, is_visible_container
from crishim.linux import executors
from crishim.model import ContainerRecord, PodRecord
from crishim.node import Node
from crishim.pb import cri_pb2 as cri
from crishim.stats.block_devices import Filesystem
from crishim.stats.layers import LayerUsage
from crishim.stats.provider import DetailedReading

PODS_A_MESSAGE = 20  # a container's metrics are 18 KB, a message at most 16 MiB
POD_CONTAINER = "POD"  # the label `container` of a pod's own metrics, as the kubelet has always named it


_DESCRIPTORS = cri.ListMetricDescriptorsResponse(descriptors=descriptors.encode())


async def ListMetricDescriptors(
    node: Node, request: cri.ListMetricDescriptorsRequest
) -> cri.ListMetricDescriptorsResponse:
    return _DESCRIPTORS


async def ListPodSandboxMetrics(
    node: Node, request: cri.ListPodSandboxMetricsRequest
) -> cri.ListPodSandboxMetricsResponse:
    return cri.ListPodSandboxMetricsResponse(pod_metrics=await gather(node))


async def StreamPodSandboxMetrics(
    node: Node, request: cri.StreamPodSandboxMetricsRequest
) -> AsyncIterator[cri.StreamPodSandboxMetricsResponse]:
    for batch in batches(await gather(node), PODS_A_MESSAGE):
        yield cri.StreamPodSandboxMetricsResponse(pod_sandbox_metrics=batch)


async def gather(node: Node) -> list[cri.PodSandboxMetrics]:
    """The metrics of all pods that are READY."""
    pods = [p for p in node.pods if p.state is PodState.READY]
    running = [c for c in node.containers if is_visible_container(c.state) and has_process(c.state)]
    reading, layers, filesystem = await asyncio.gather(
        node.stats.read_details(container_groups(running), network_handles(pods)),
        layer_usage(node, running),
        executors.statistics(node.block_devices.filesystem, node.filesystems.writable),
    )
    wanted = {(io.major, io.minor) for detail in reading.details.values() for io in detail.io}
    names = await executors.statistics(node.block_devices.names, wanted) if wanted else {}
    # In a thread: encoding 60 messages a container would block the event loop.
    cgroup = node.launcher.pod_cgroup
    return await executors.statistics(_encode, pods, running, cgroup, reading, layers, filesystem, names)


def _encode(
    pods: Sequence[PodRecord],
    running: Sequence[ContainerRecord],
    pod_cgroup: Callable[[PodRecord], str],
    reading: DetailedReading,
    layers: Mapping[str, LayerUsage],
    filesystem: Filesystem,
    names: Mapping[tuple[int, int], str],
) -> list[cri.PodSandboxMetrics]:
    now = time.time_ns()
    result = {}
    for pod in pods:
        metadata = pod.parse_config().metadata
        own = [pod_cgroup(pod), pod.id, "", metadata.namespace, metadata.name, POD_CONTAINER]
        values = samples.of_interfaces(reading.interfaces.get(pod.id, []))
        result[pod.id] = cri.PodSandboxMetrics(pod_sandbox_id=pod.id, metrics=samples.metrics(values, own, now))
    by_id = {pod.id: pod for pod in pods}
    for container in running:
        if container.pod_id in result and container.id in reading.usages:
            found = samples.metrics(
                _values(container, reading, layers.get(container.id), filesystem, names),
                _labels(by_id[container.pod_id], container),
                now,
            )
            result[container.pod_id].container_metrics.add(container_id=container.id, metrics=found)
    return list(result.values())


def _values(
    container: ContainerRecord,
    reading: DetailedReading,
    layer: LayerUsage | None,
    filesystem: Filesystem,
    names: Mapping[tuple[int, int], str],
) -> list[samples.Value]:
    detail = reading.details.get(container.id)
    parts = [
        samples.of_usage(reading.usages[container.id]),
        samples.of_processes(reading.processes[container.id]),
        samples.of_filesystem(filesystem, layer.bytes if layer else None),
        samples.of_record(container),
    ]
    if detail is not None:
        parts += [samples.of_detail(detail), samples.of_io(detail, names, filesystem)]
    return list(chain.from_iterable(parts))


def _labels(pod: PodRecord, container: ContainerRecord) -> Sequence[str]:
    metadata, config = pod.parse_config().metadata, container.parse_config()
    image = config.image.user_specified_image or config.image.image
    return (container.cgroup, container.id, image, metadata.namespace, metadata.name, config.metadata.name)
