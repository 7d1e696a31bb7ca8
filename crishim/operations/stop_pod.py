"""StopPodSandbox: stop containers, notify NRI plugins, return network devices, CNI DEL, remove the namespaces.

The order matters. Devices are returned while the network namespace exists and before CNI DEL, since a plugin may flush
it; CNI DEL comes after the last container, since a running one would lose its network. Exited containers are cleaned up
at the same time, or before if poststop hooks or NRI plugins are involved.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from crishim.decoding import NOT_JSON
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import PodState, has_process
from crishim.linux import cgroups, executors, namespaces, slices
from crishim.model import ContainerRecord, PodRecord
from crishim.netdev.records import PodRef
from crishim.node import Node
from crishim.operations import nri_events
from crishim.operations.log_context import about
from crishim.operations.side_by_side import both
from crishim.operations.stop_container import stop_container
from crishim.pb import cri_pb2 as cri
from crishim.tracing import timed


async def stop_pod(node: Node, id: str) -> None:
    """Stop a pod; OK if it is stopped or does not exist.

    Running containers are killed at once: a client that wants a grace period stops them first. If the network cannot be
    torn down the error is raised, the pod stays NOTREADY and the next call tries again.
    """
    try:
        pod = node.pods.find(id)
    except CrishimError as error:
        if error.kind is Kind.NOT_FOUND:
            return
        raise
    about(pod=pod.id)
    async with node.locks.holding(pod.id):  # no container is being created, and none will be
        current = node.pods.get(pod.id)
        if current is None or current.state in (PodState.NOTREADY, PodState.REMOVING):
            return
        await node.pods.update(pod.id, lambda p: replace(p, state=PodState.STOPPING))
    own = [c for c in node.containers if c.pod_id == pod.id]
    await asyncio.gather(*(stop_container(node, c.id, 0) for c in own if has_process(c.state)))
    async with node.locks.holding(pod.id):
        current = node.pods.get(pod.id)
        if current is None or current.state is not PodState.STOPPING:
            return
        if node.nri.active or await executors.records(_hooks_follow, [node.launcher.bundle(c.id) for c in own]):
            await _released(node, own)
        await nri_events.pod_stops(node, pod.id)
        await both(_released(node, own), tear_down(node, current))
        await node.pods.update(pod.id, lambda p: replace(p, state=PodState.NOTREADY, init=None))


async def _released(node: Node, own: Sequence[ContainerRecord]) -> None:
    """Wait until exited containers have no root file system, cgroup or hooks left, and NRI plugins are notified."""
    for container in own:
        async with node.locks.holding(container.id):
            await nri_events.container_stopped(node, container.id)


def _hooks_follow(bundles: Sequence[Path]) -> bool:
    """Whether a container has poststop hooks, which may use the pod's network. Blocks; a bundle may be gone."""
    for bundle in bundles:
        with contextlib.suppress(OSError, AttributeError, *NOT_JSON):
            if (msgspec.json.decode((bundle / "config.json").read_bytes()).get("hooks") or {}).get("poststop"):
                return True
    return False


async def tear_down(node: Node, pod: PodRecord) -> None:
    """Return devices, end init and network concurrently, then the namespaces. May be repeated; raises if a step fails.

    If a device cannot be returned, its namespace is kept for the next try; the pod's address is released.
    """
    alive = bool(pod.namespaces.net) and await executors.kernel(namespaces.is_pinned, pod.namespaces.net)
    stuck: CrishimError | None = None
    if pod.namespaces.net:
        try:
            await timed("network devices returned", node.netdevices.return_devices, device_pod(pod))
        except CrishimError as error:
            stuck = error
    netns = pod.namespaces.net if alive else ""
    if pod.namespaces.net and pod.network is None:  # adopted, with an unknown network
        network = timed("CNI DEL", node.networks.release, pod.id, netns)
    else:
        network = timed("CNI DEL", node.networks.delete, pod, netns)
    await both(_end_init(node, pod), network)
    if stuck is not None:
        raise stuck
    await timed("namespaces", node.sandboxes.remove, pod.id)


async def _end_init(node: Node, pod: PodRecord) -> None:
    """The init uses the host's network namespace, so it can be ended during CNI DEL."""
    if pod.namespaces.pid:
        await timed("init", node.inits.stop, pod, node.handlers.get(pod.handler))


async def tear_down_unknown(node: Node, pod_id: str) -> None:
    """As tear_down() and forget_pod(), for a pod of which only the id is known. Recovery returns its devices."""
    netns = str(node.sandboxes.directory(pod_id) / "ns/net")
    alive = await executors.kernel(namespaces.is_pinned, netns)
    try:
        await node.networks.release(pod_id, netns if alive else "")
    finally:
        await node.sandboxes.remove(pod_id)
        await _remove_own(node, node.sandboxes.cgroup(pod_id, cri.PodSandboxConfig()))


async def forget_pod(node: Node, pod: PodRecord) -> None:
    """Remove what a stopped pod still has: records of lost devices, its directory, its cgroup."""
    await node.netdevices.forget(pod.id)
    await node.sandboxes.remove(pod.id)
    await remove_cgroup(node, pod)


async def remove_cgroup(node: Node, pod: PodRecord) -> None:
    """Remove the pod's cgroup if it is ours: the kubelet removes its own."""
    if not pod.parse_config().linux.cgroup_parent:
        await _remove_own(node, pod.cgroup_parent)


async def _remove_own(node: Node, path: str) -> None:
    if node.config.runtimes.cgroup_driver == "systemd":
        await slices.stop(path)
    await executors.kernel(cgroups.remove, path)


def device_pod(pod: PodRecord) -> PodRef:
    """The pod for the network-device driver. Its namespace is from the metadata: the pod's author sets labels."""
    metadata = pod.parse_config().metadata
    title = f"{metadata.namespace}/{metadata.name}"
    return PodRef(id=pod.id, netns=pod.namespaces.net, title=title, namespace=metadata.namespace)
