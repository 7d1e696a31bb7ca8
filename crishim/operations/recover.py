"""Recovery at start: compare records and node, finish or undo interrupted operations, remove what has no record.

The daemon may have been killed between any two steps. Each operation writes its intent first (a record in a transient
state), so everything of ours on the node either has a record or is left over:

    container CREATING          no response was sent: removed
              STARTING          the runtime is asked whether it was started
              `restore` set     from a checkpoint, without a process: unchanged unless it was being started
              CREATED, RUNNING  conmon is watched again; if it is gone the exit file has the code
              REMOVING          the response was sent: removal is finished
    pod       CREATING          no response was sent: removed
              READY             unchanged if its namespaces exist; after a reboot NOTREADY
              STOPPING          the stop is tried again; if it fails, the client's next stop tries again
              REMOVING          the response was sent: removal is finished

Pods and containers with an unreadable record were adopted (operations/adopt.py): they are watched, never removed.
Removal is by name, below our own directories only. A CNI plugin that the killed daemon had started may still run: it is
waited for, as what it makes after its DEL would never be removed. Pods whose CNI DEL is slow, or not possible yet
because the network add-on is not up, delay the start by PATIENCE at most and are finished while the daemon serves.
"""

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Mapping
from typing import Any

from msgspec.structs import replace

from crishim.errors import CrishimError
from crishim.ids import is_id
from crishim.lifecycle import ContainerState, PodState, has_process
from crishim.linux import executors, processes
from crishim.model import ContainerRecord, PodRecord
from crishim.node import Node
from crishim.operations import nri_events, remove_container, remove_pod, restore_container
from crishim.operations.exits import record_exit, release_container, watch_exit
from crishim.operations.stop_pod import device_pod, forget_pod, stop_pod, tear_down, tear_down_unknown

log = logging.getLogger("crishim.recover")

PATIENCE = 10.0  # seconds the start waits for pods to be stopped
AT_ONCE = 8  # containers recovered at the same time


async def recover(node: Node) -> None:
    """Make records and node agree, once, before any operation.

    An error of one pod, container or image is logged and not raised; its record stays, for the client to stop and
    remove.
    """
    await _images(node)
    whole = {p.id for p in node.pods if await executors.kernel(node.sandboxes.is_whole, p)}
    await _all_containers(node)
    alive = [device_pod(p) for p in node.pods if p.id in whole and p.namespaces.net]
    await _guarded(node.netdevices.recover(alive), "network devices")
    await _all_pods(node, whole)
    await _guarded(_delete_unknown_containers(node), "runtimes")
    await _guarded(_remove_unknown_sandboxes(node), "sandboxes")
    for remove_orphans in (node.filesystems.remove_orphans, node.launcher.remove_orphans):
        await _guarded(remove_orphans({c.id for c in node.containers}), "containers")


def is_in_doubt(node: Node) -> bool:
    """Whether records may mislead a client until recovery is complete: that of an adopted pod or container, and of one
    in STARTING, as only the runtime knows whether it was started."""
    return any(p for p in node.pods if node.pods.is_adopted(p.id)) or any(
        c for c in node.containers if c.state is ContainerState.STARTING or node.containers.is_adopted(c.id)
    )


async def _images(node: Node) -> None:
    try:
        known = {image.id for image in (await node.images.snapshot()).images}
        lost = {c.image_id for c in node.containers if has_process(c.state) and c.image_id} - known
        if lost:
            log.error(
                "images of running containers are not in the store: no layer is removed", extra={"images": sorted(lost)}
            )
        await node.transport.recover(collect_garbage=not lost)
    except (CrishimError, OSError, ValueError) as error:
        log.error("the image store cannot be put in order", extra={"error": str(error)})


async def _all_containers(node: Node) -> None:
    semaphore = asyncio.Semaphore(AT_ONCE)

    async def look_at(container: ContainerRecord) -> None:
        async with semaphore:
            await _guarded(_container(node, container), container.id)

    await _patiently(node, {c.id: look_at(c) for c in node.containers}, "containers")


async def _all_pods(node: Node, whole: set[str]) -> None:
    work = {
        pod.id: _guarded(_pod(node, pod, pod.id in whole), pod.id)
        for pod in node.pods
        if not node.pods.is_adopted(pod.id)
    }
    await _patiently(node, work, "pods")


async def _patiently(node: Node, work: Mapping[str, Coroutine[Any, Any, None]], what: str) -> None:
    """Run work concurrently; what takes longer than PATIENCE goes on while the daemon serves. work: by id."""
    tasks = [node.tasks.start(step, name=f"recover {id[:13]}") for id, step in work.items()]
    _, late = await asyncio.wait(tasks, timeout=PATIENCE) if tasks else ((), ())
    if late:
        log.warning("recovery goes on while the daemon serves", extra={what: len(late)})


async def _container(node: Node, container: ContainerRecord) -> None:
    if container.state is ContainerState.CREATING:
        log.info("an unfinished container is removed", extra={"container": container.id})
        await remove_container.remove_container(node, container.id)
    elif container.state is ContainerState.REMOVING:
        await remove_container.finish(node, container.id)
    elif container.state is ContainerState.EXITED:
        await release_container(node, container.id)
    elif container.restore:
        await restore_container.recover(node, container)
    elif container.monitor is None or not await executors.processes(processes.is_alive, container.monitor):
        await record_exit(node, container.id)
    else:
        try:
            if container.state is ContainerState.STARTING:
                await _started(node, container)
        finally:
            watch_exit(node, container)
    if node.pods.get(container.pod_id) is None and not node.containers.is_adopted(container.id):
        log.error("a container whose pod has no record is removed", extra={"container": container.id})
        await remove_container.remove_container(node, container.id)


async def _started(node: Node, container: ContainerRecord) -> None:
    """The daemon died before or after the runtime's start: ask the runtime.

    If the runtime cannot tell, an adopted container that runs counts as started: the kubelet would replace one that it
    sees as created.
    """
    try:
        state = await node.handlers.get(container.handler).state(container.id)
    except CrishimError:
        if not node.containers.is_adopted(container.id):
            raise
        state = ""
    after = ContainerState.CREATED if state == "created" else ContainerState.RUNNING
    at = 0 if after is ContainerState.CREATED else container.started_at
    await node.containers.update(container.id, lambda c: replace(c, state=after, started_at=at))


async def _pod(node: Node, pod: PodRecord, whole: bool) -> None:
    if pod.state is PodState.CREATING:
        log.info("an unfinished pod is removed", extra={"pod": pod.id})
        await node.networks.wait_for_plugins(pod)
        await nri_events.pod_stops(node, pod.id)
        await tear_down(node, pod)
        await forget_pod(node, pod)
        await nri_events.pod_goes(node, pod.id)
    elif pod.state is PodState.STOPPING:
        await node.networks.wait_for_plugins(pod)
        await stop_pod(node, pod.id)
    elif pod.state is PodState.REMOVING:
        await remove_pod.finish(node, pod.id)
    elif pod.state is PodState.READY and not (whole and await _has_init(pod)):
        log.warning("a pod's namespaces are gone: it is not ready any more", extra={"pod": pod.id})
        await stop_pod(node, pod.id)


async def _delete_unknown_containers(node: Node) -> None:
    """Delete containers a runtime has without a record: a killed daemon left them, or they are inits of pods."""
    known = {c.id for c in node.containers if has_process(c.state) or c.state is ContainerState.REMOVING}
    known |= {f"{p.id}-init" for p in node.pods if p.init}
    for runtime in node.handlers:
        for id in await runtime.known() - known:
            if is_id(id.removesuffix("-init")):
                log.warning("a container nobody knows is deleted", extra={"container": id})
                await runtime.delete(id)


async def _remove_unknown_sandboxes(node: Node) -> None:
    for id in await executors.kernel(node.sandboxes.known) - {p.id for p in node.pods}:
        if is_id(id):
            await _guarded(tear_down_unknown(node, id), id)


async def _guarded(work: Awaitable[object], what: str) -> None:
    try:
        await work
    except Exception as error:
        log.error("recovery failed", extra={"what": what, "error": str(error)})


async def _has_init(pod: PodRecord) -> bool:
    if not pod.namespaces.pid:
        return True  # without a hop to a thread: all pods are checked at the same time
    return pod.init is not None and await executors.processes(processes.is_alive, pod.init)
