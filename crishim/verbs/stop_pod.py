"""StopPodSandbox: containers, then network devices, then the primary network, then the namespaces.

The order matters. Devices return while the namespace lives and before CNI DEL, since a plugin may flush it; CNI DEL
comes after the last container, since one that still runs would lose its network under its feet.
"""

import asyncio
from functools import partial

from msgspec.structs import replace

from crishim.cni.network import PodNetworks
from crishim.engine.handlers import Handlers
from crishim.engine.init import Inits
from crishim.engine.sandbox import Sandboxes
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import PodState, has_process
from crishim.model import ContainerRecord, PodRecord
from crishim.netdev.attach import NetDevices
from crishim.netdev.records import Pod
from crishim.pb import cri_pb2 as cri
from crishim.state.locks import Locks
from crishim.state.store import Store
from crishim.verbs.stop_container import stop_container
from crishim.verbs.subject import about
from crishim.verbs.timeline import timed
from crishim.wire.linux import cgroups, executors, namespaces


class Teardown:
    """What a stop takes apart besides the containers."""

    def __init__(
        self, devices: NetDevices, networks: PodNetworks, inits: Inits, sandboxes: Sandboxes, handlers: Handlers
    ) -> None:
        self._devices = devices
        self._networks = networks
        self._inits = inits
        self._sandboxes = sandboxes
        self._handlers = handlers

    async def hold_devices(self, pod_id: str) -> None:
        """Before processes of the pod end."""
        await self._devices.hold(pod_id)

    async def run(self, pod: PodRecord) -> None:
        """Return devices, end the init, tear down network and namespaces. May be repeated; raises if a step fails.

        A device that cannot be returned keeps its namespace for the next try, but not the pod's address.
        """
        alive = bool(pod.namespaces.net) and await executors.kernel(namespaces.is_pinned, pod.namespaces.net)
        stuck: CrishimError | None = None
        if pod.namespaces.net:
            try:
                await timed("network devices returned", self._devices.return_devices(device_pod(pod)))
            except CrishimError as error:
                stuck = error
        if pod.namespaces.pid:
            await timed("init", self._inits.stop(pod, self._handlers.get(pod.handler)))
        netns = pod.namespaces.net if alive else ""
        if pod.namespaces.net and pod.network is None:  # adopted, and nothing tells by which network
            await timed("CNI DEL", self._networks.release(pod.id, netns))
        else:
            await timed("CNI DEL", self._networks.delete(pod, netns))
        if stuck is not None:
            raise stuck
        await timed("namespaces", self._sandboxes.remove(pod.id))

    async def wait_for_plugins(self, pod: PodRecord) -> None:
        """Wait until the CNI plugins that an earlier daemon started for the pod have ended; killed in the end."""
        await self._networks.outlast(pod)

    async def run_unknown(self, pod_id: str) -> None:
        """As run() and finish() for a pod of which only the id is known. Its devices are recovery's."""
        netns = str(self._sandboxes.directory(pod_id) / "ns/net")
        alive = await executors.kernel(namespaces.is_pinned, netns)
        try:
            await self._networks.release(pod_id, netns if alive else "")
        finally:
            await self._sandboxes.remove(pod_id)
            await executors.kernel(cgroups.remove, self._sandboxes.cgroup(pod_id, cri.PodSandboxConfig()))

    async def finish(self, pod: PodRecord) -> None:
        """Take away what a stopped pod still has: records of devices it lost, its directory, its cgroup."""
        await self._devices.forget(pod.id)
        await self._sandboxes.remove(pod.id)
        await remove_cgroup(pod)


async def remove_cgroup(pod: PodRecord) -> None:
    """Remove the pod's cgroup if it is ours: the kubelet removes its own."""
    if not pod.parse_config().linux.cgroup_parent:
        await executors.kernel(cgroups.remove, pod.cgroup_parent)


async def stop_pod(
    id: str,
    *,
    pods: Store[PodRecord],
    containers: Store[ContainerRecord],
    locks: Locks,
    teardown: Teardown,
) -> None:
    """Stop a pod; OK if it is stopped or not there.

    Containers that run are killed at once: a client that wants grace stops them first. If the network cannot be torn
    down the error is raised, the pod stays NOTREADY and the next call tries again.
    """
    try:
        pod = pods.find(id)
    except CrishimError as error:
        if error.kind is Kind.NOT_FOUND:
            return
        raise
    about(pod=pod.id)
    async with locks.holding(pod.id):  # no container is being created, and none will be
        current = pods.get(pod.id)
        if current is None or current.state in (PodState.NOTREADY, PodState.REMOVING):
            return
        await pods.update(pod.id, lambda p: replace(p, state=PodState.STOPPING))
    own = [c for c in containers if c.pod_id == pod.id]
    kill = partial(stop_container, containers=containers, hold_devices=teardown.hold_devices)
    await asyncio.gather(*(kill(c.id, 0) for c in own if has_process(c.state)))
    async with locks.holding(pod.id):
        current = pods.get(pod.id)
        if current is None or current.state is not PodState.STOPPING:
            return
        for container in own:  # its root file system and cgroup are gone, its hooks over, when its lock is free
            async with locks.holding(container.id):
                pass
        await teardown.run(current)
        await pods.update(pod.id, lambda p: replace(p, state=PodState.NOTREADY, init=None))


def device_pod(pod: PodRecord) -> Pod:
    """The pod as the network-device driver knows it. Its namespace is its metadata's: labels are its author's."""
    metadata = pod.parse_config().metadata
    title = f"{metadata.namespace}/{metadata.name}"
    return Pod(id=pod.id, netns=pod.namespaces.net, title=title, namespace=metadata.namespace)
