"""NRI's messages of pods and containers, made from their records and config.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from crishim.lifecycle import ContainerState, PodState, has_process
from crishim.linux import executors
from crishim.model import ContainerRecord, PodRecord
from crishim.node import Node
from crishim.pb import cri_pb2 as cri
from crishim.pb import nri_pb2 as nri
from crishim.spec.nri_container import describe, from_cri

LIVE = (ContainerState.CREATED, ContainerState.STARTING, ContainerState.RUNNING)
_STATES = {
    ContainerState.CREATED: nri.CONTAINER_CREATED,
    ContainerState.STARTING: nri.CONTAINER_CREATED,
    ContainerState.RUNNING: nri.CONTAINER_RUNNING,
    ContainerState.EXITED: nri.CONTAINER_STOPPED,
    ContainerState.REMOVING: nri.CONTAINER_STOPPED,  # for a StopContainer that was not sent before
}


def pod_message(node: Node, pod: PodRecord, *, gone: bool = False) -> nri.PodSandbox:
    """The pod, with its own namespaces unless it was stopped. gone: they do not exist any more.

    pid is 0: no process holds its namespaces.
    """
    config = pod.parse_config()
    overhead, resources = config.linux.overhead, config.linux.resources
    if pod.overhead:
        overhead = cri.LinuxContainerResources.FromString(pod.overhead)
    if pod.resources:
        resources = cri.LinuxContainerResources.FromString(pod.resources)
    own = pod.namespaces
    spaces = {"network": own.net, "ipc": own.ipc, "uts": own.uts, "user": own.user, "pid": own.pid}
    made = nri.PodSandbox(
        id=pod.id,
        name=config.metadata.name,
        uid=config.metadata.uid,
        namespace=config.metadata.namespace,
        labels=config.labels,
        annotations=config.annotations,
        runtime_handler=pod.handler,
        ips=pod.network.ips if pod.network else (),
        linux=nri.LinuxPodSandbox(
            pod_overhead=from_cri(overhead),
            pod_resources=from_cri(resources),
            resources=from_cri(resources),
            cgroup_parent=config.linux.cgroup_parent,
            cgroups_path=node.launcher.pod_cgroup(pod),
        ),
    )
    if not gone and pod.state is not PodState.NOTREADY:
        made.linux.namespaces.extend(nri.LinuxNamespace(type=t, path=p) for t, p in spaces.items() if p)
    return made


def container_message(container: ContainerRecord, spec: Mapping[str, Any]) -> nri.Container:
    """The container. spec: its config.json, {} if that is gone."""
    config = container.parse_config()
    made = describe(spec)
    made.id, made.pod_sandbox_id, made.name = container.id, container.pod_id, config.metadata.name
    made.state = _STATES.get(container.state, nri.CONTAINER_UNKNOWN)
    made.labels.update(config.labels)
    made.annotations.update(config.annotations)
    made.created_at, made.started_at = container.created_at, container.started_at
    made.finished_at, made.exit_code = container.finished_at, container.exit_code
    made.status_reason, made.status_message = container.reason, container.message
    made.pid = container.process.pid if container.process and has_process(container.state) else 0
    made.CDI_devices.extend(nri.CDIDevice(name=device.name) for device in config.CDI_devices)
    made.image.name = config.image.user_specified_image or config.image.image
    made.image.config_digest = container.image_id
    return made


async def messages(node: Node, container: ContainerRecord) -> tuple[nri.PodSandbox, nri.Container] | None:
    """Pod and container, for an event of a container that has a bundle; None if its pod has no record."""
    pod = node.pods.get(container.pod_id)
    if pod is None:
        return None
    (spec,) = await executors.records(_read_specs, [node.launcher.bundle(container.id)])
    return pod_message(node, pod), container_message(container, spec)


async def all_messages(node: Node) -> tuple[list[nri.PodSandbox], list[nri.Container]]:
    """The pods and containers for a new plugin's Synchronize: pods past CREATING, and containers with a process.

    Pods that are being removed are included: their RemovePodSandbox is still to be sent.
    """
    pods = [pod for pod in node.pods if pod.state is not PodState.CREATING]
    known = {pod.id for pod in pods}
    containers = [c for c in node.containers if c.state in LIVE and c.pod_id in known]
    specs = await executors.records(_read_specs, [node.launcher.bundle(c.id) for c in containers])
    return [pod_message(node, p) for p in pods], [
        container_message(c, spec) for c, spec in zip(containers, specs, strict=True)
    ]


def _read_specs(bundles: Sequence[Path]) -> list[Mapping[str, Any]]:
    """Each bundle's config.json, as the daemon wrote it; {} for one that is gone or damaged."""
    found: list[Mapping[str, Any]] = []
    for bundle in bundles:
        try:
            spec = msgspec.json.decode((bundle / "config.json").read_bytes())
        except (OSError, msgspec.DecodeError):
            spec = {}
        found.append(spec if isinstance(spec, dict) else {})
    return found
