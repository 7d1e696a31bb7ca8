"""When NRI plugins are told of pods and containers, and that each is told once: what the operations call.

Nothing is described and no record written while there is no plugin. A pod or container becomes visible, and plugins
are told, inside one node.nri.requests(): one that comes finds it in its set, or gets the event. Locks are taken before
requests(), never inside.

    pod        announced        on disk before RunPodSandbox is sent: should the pod not come to be, Stop and Remove are
               stop_announced   after StopPodSandbox was sent
    container  announced        on disk before CreateContainer is sent, likewise
               stop_unannounced on disk with the end, until StopContainer was sent
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
    """RunPodSandbox: its network and its cgroup are there. CrishimError: a plugin refuses it."""
    if not node.nri.active:
        return
    await node.pods.update(pod.id, lambda _: replace(pod, announced=True))
    if not pod.parse_config().linux.cgroup_parent and node.config.runtimes.cgroup_driver == "cgroupfs":
        await executors.kernel(cgroups.make, pod.cgroup_parent)
    await node.nri.run_pod_sandbox(pod_message(node, pod))


async def pod_stops(node: Node, id: str) -> None:
    """StopPodSandbox, once: the containers have ended, namespaces and network are still there."""
    pod = node.pods.get(id)
    async with node.nri.requests():
        if pod is None or pod.stop_announced or not node.nri.active or _is_unknown(pod):
            return
        await node.nri.stop_pod_sandbox(pod_message(node, pod))
        await node.pods.update(id, lambda p: replace(p, stop_announced=True))


async def pod_goes(node: Node, id: str) -> None:
    """RemovePodSandbox, and the end of the record: nothing else of the pod is left."""
    pod = node.pods.get(id)
    async with node.nri.requests():
        if pod is not None and node.nri.active and not _is_unknown(pod):
            await node.nri.remove_pod_sandbox(pod_message(node, pod, gone=True))
        await node.pods.remove(id)


async def pod_updates(node: Node, pod: PodRecord) -> None:
    """UpdatePodSandbox. pod: with what is to be. CrishimError: a plugin refuses it."""
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
    """StartContainer. CrishimError: a plugin refuses it."""
    async with node.nri.requests():
        if node.nri.active and (about := await messages(node, container)):
            await node.nri.start_container(*about)


async def container_started(node: Node, container: ContainerRecord) -> None:
    """PostStartContainer."""
    await _notify(node, container, node.nri.post_start_container)


async def container_updates(
    node: Node, container: ContainerRecord, update: cri.LinuxContainerResources
) -> Update | None:
    """UpdateContainer: what to set in place of the update; None if there is no plugin. CrishimError: one refuses it."""
    async with node.nri.requests():
        if node.nri.active and (about := await messages(node, container)):
            return await node.nri.update_container(*about, from_cri(update))
    return None


async def container_updated(node: Node, container: ContainerRecord) -> None:
    """PostUpdateContainer."""
    await _notify(node, container, node.nri.post_update_container)


async def container_stopped(node: Node, id: str) -> None:
    """StopContainer, once, for one that has ended. To be called under the container's lock."""
    container = node.containers.get(id)
    if container is None or not container.stop_unannounced:
        return
    async with node.nri.requests():
        if node.nri.active and (about := await messages(node, container)):
            changes = await node.nri.stop_container(*about)
            if changes != ((), ()):  # they are for other containers, whose locks may be wanted
                node.tasks.start(node.nri.apply(changes), name=f"nri updates after the end of {id[:13]}")
        await node.containers.update(id, lambda c: replace(c, stop_unannounced=False))


async def container_goes(node: Node, id: str) -> None:
    """RemoveContainer, before anything of it is deleted; after StopContainer for one that was not to be."""
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
    """Tell of what is done already: trouble with that is no error of the call."""
    try:
        async with node.nri.requests():
            if node.nri.active and (about := await messages(node, container)):
                await event(*about)
    except (CrishimError, OSError) as error:
        log.error("NRI plugins could not be told", extra={"container": container.id, "error": str(error)})


def _is_unknown(pod: PodRecord) -> bool:
    """Whether plugins have never heard of the pod: one that did not come to be, and was not announced."""
    return pod.state is PodState.CREATING and not pod.announced
