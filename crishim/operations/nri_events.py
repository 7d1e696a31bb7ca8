"""Send NRI plugins the events of pods and containers, each once; called by the operations.

Without a plugin no message is built and no record written. A pod or container becomes visible, and the event is sent,
inside one node.nri.requests(): a new plugin gets it in Synchronize or by the event. Locks are taken before requests(),
never inside.

    pod        announced        on disk before RunPodSandbox is sent: if the pod fails, Stop and Remove are sent
               stop_announced   after StopPodSandbox was sent
    container  announced        on disk before CreateContainer is sent, likewise
               stop_unannounced on disk with the exit, until StopContainer was sent
"""

import logging
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from crishim.errors import CrishimError
from crishim.lifecycle import ContainerState, PodState
from crishim.linux import cgroups, executors
from crishim.model import ContainerRecord, PodRecord
from crishim.node import Node
from crishim.nri.plugins import Update
from crishim.operations.nri_messages import messages, pod_message
from crishim.pb import cri_pb2 as cri
from crishim.pb import nri_pb2 as nri
from crishim.spec.nri_container import from_cri

Notice = Callable[[nri.PodSandbox, nri.Container], Awaitable[None]]
log = logging.getLogger("crishim.nri")


async def pod_runs(node: Node, pod: PodRecord) -> None:
    """RunPodSandbox, once network and cgroup exist. Raises CrishimError if a plugin refuses it."""
    if not node.nri.active:
        return
    await node.pods.update(pod.id, lambda _: replace(pod, announced=True))
    if not pod.parse_config().linux.cgroup_parent and node.config.runtimes.cgroup_driver == "cgroupfs":
        await executors.kernel(cgroups.make, pod.cgroup_parent)
    await node.nri.run_pod_sandbox(pod_message(node, pod))


async def pod_stops(node: Node, id: str) -> None:
    """StopPodSandbox, once, after the containers have exited and before namespaces and network are removed."""
    pod = node.pods.get(id)
    async with node.nri.requests():
        if pod is None or pod.stop_announced or not node.nri.active or _is_unknown(pod):
            return
        await node.nri.stop_pod_sandbox(pod_message(node, pod))
        await node.pods.update(id, lambda p: replace(p, stop_announced=True))


async def pod_goes(node: Node, id: str) -> None:
    """RemovePodSandbox, then remove the record: everything else of the pod is removed before."""
    pod = node.pods.get(id)
    async with node.nri.requests():
        if pod is not None and node.nri.active and not _is_unknown(pod):
            await node.nri.remove_pod_sandbox(pod_message(node, pod, gone=True))
        await node.pods.remove(id)


async def pod_updates(node: Node, pod: PodRecord) -> None:
    """UpdatePodSandbox. pod: the record after the update. Raises CrishimError if a plugin refuses it."""
    async with node.nri.requests():
        if node.nri.active:
            current, new = node.pods.find(pod.id), pod_message(node, pod).linux
            await node.nri.update_pod_sandbox(pod_message(node, current), new.pod_overhead, new.pod_resources)


async def pod_updated(node: Node, pod: PodRecord) -> None:
    """PostUpdatePodSandbox."""
    try:
        async with node.nri.requests():
            if node.nri.active:
                await node.nri.post_update_pod_sandbox(pod_message(node, pod))
    except (CrishimError, OSError) as error:
        log.error("NRI plugins could not be told", extra={"pod": pod.id, "error": str(error)})


async def container_created(node: Node, container: ContainerRecord) -> None:
    """PostCreateContainer."""
    await _notify(node, container, node.nri.post_create_container)


async def container_starts(node: Node, container: ContainerRecord) -> None:
    """StartContainer. Raises CrishimError if a plugin refuses it."""
    async with node.nri.requests():
        if node.nri.active and (about := await messages(node, container)):
            await node.nri.start_container(*about)


async def container_started(node: Node, container: ContainerRecord) -> None:
    """PostStartContainer."""
    await _notify(node, container, node.nri.post_start_container)


async def container_updates(
    node: Node, container: ContainerRecord, update: cri.LinuxContainerResources
) -> Update | None:
    """UpdateContainer: the update as plugins changed it; None without plugins. Raises CrishimError if one refuses."""
    async with node.nri.requests():
        if node.nri.active and (about := await messages(node, container)):
            return await node.nri.update_container(*about, from_cri(update))
    return None


async def container_updated(node: Node, container: ContainerRecord) -> None:
    """PostUpdateContainer."""
    await _notify(node, container, node.nri.post_update_container)


async def container_stopped(node: Node, id: str) -> None:
    """StopContainer, once, for a container that has exited. The caller holds its lock."""
    container = node.containers.get(id)
    if container is None or not container.stop_unannounced:
        return
    async with node.nri.requests():
        if node.nri.active and (about := await messages(node, container)):
            changes = await node.nri.stop_container(*about)
            if changes != ((), ()):  # in a task: they take other containers' locks
                node.tasks.start(node.nri.apply(changes), name=f"nri updates after the end of {id[:13]}")
        await node.containers.update(id, lambda c: replace(c, stop_unannounced=False))


async def container_goes(node: Node, id: str) -> None:
    """RemoveContainer, before anything of it is deleted; StopContainer first if its creation failed."""
    container = node.containers.get(id)
    if container is None or (container.state is ContainerState.CREATING and not container.announced):
        return
    async with node.nri.requests():
        if not node.nri.active or (about := await messages(node, container)) is None:
            return
        if container.announced and container.state is ContainerState.CREATING:
            await node.nri.stop_container(*about)
        await node.nri.remove_container(*about)


async def _notify(node: Node, container: ContainerRecord, event: Notice) -> None:
    """Send an event of something already done: its failure is logged and does not fail the call."""
    try:
        async with node.nri.requests():
            if node.nri.active and (about := await messages(node, container)):
                await event(*about)
    except (CrishimError, OSError) as error:
        log.error("NRI plugins could not be told", extra={"container": container.id, "error": str(error)})


def _is_unknown(pod: PodRecord) -> bool:
    """Whether no plugin got an event of the pod: it failed before RunPodSandbox was sent."""
    return pod.state is PodState.CREATING and not pod.announced
