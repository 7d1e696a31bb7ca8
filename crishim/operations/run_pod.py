"""RunPodSandbox: make a record, namespaces, the primary network, and an init if the PID namespace is shared.

    record CREATING -> namespaces and files -> CNI ADD, with the init started meanwhile -> NRI plugins -> record READY

Network devices are not attached here but with the containers that request them (create_container.py).
"""

import time

from msgspec.structs import replace

from crishim.engine.runtime import Runtime
from crishim.ids import new_id
from crishim.lifecycle import PodState
from crishim.model import PodRecord
from crishim.node import Node
from crishim.operations import nri_events
from crishim.operations.log_context import about
from crishim.operations.rollback import Rollback
from crishim.operations.side_by_side import both
from crishim.operations.stop_pod import remove_cgroup
from crishim.pb import cri_pb2 as cri
from crishim.spec.validate import check_pod
from crishim.state.names import pod_name
from crishim.tracing import span, timed


async def run_pod(node: Node, config: cri.PodSandboxConfig, handler: str) -> str:
    """Make a pod sandbox, READY when this returns, and return its id.

    A repeated request (the client's deadline passed) waits for the first and returns its pod's id. Raises INVALID for
    an invalid configuration or handler, EXISTS for a name in use, UNAVAILABLE without a network configuration. After an
    error nothing is left; if the rollback itself fails, the pod stays as NOTREADY for a later Stop and Remove.
    """
    check_pod(config)
    node.sandboxes.check_cgroup(config)
    runtime = node.handlers.offered(handler)
    metadata = config.metadata
    name = pod_name(metadata.namespace, metadata.name, metadata.uid, metadata.attempt)
    async with node.names.holding(name):
        finished = _finished_before(node, node.names.holder(name), config, handler)
        if finished:
            return finished
        id = new_id()
        node.names.reserve(name, id, "pod sandbox")
        about(pod=id)
        pod = PodRecord(
            id=id,
            state=PodState.CREATING,
            config=config.SerializeToString(deterministic=True),
            handler=handler,
            created_at=time.time_ns(),
            namespaces=node.sandboxes.plan(id, config),
            cgroup_parent=node.sandboxes.cgroup(id, config),
        )
        rollback = Rollback()
        try:
            async with rollback:
                if pod.namespaces.net:
                    pod = replace(pod, network=await node.networks.plan(config))
                await _make(node, pod, rollback, runtime)
        except BaseException:
            await _forget(node, pod, rollback)
            raise
        return id


async def _make(node: Node, pod: PodRecord, rollback: Rollback, runtime: Runtime) -> None:
    """Make a planned pod, up to READY."""
    await node.pods.add(pod)
    rollback.push("the cgroup", lambda: remove_cgroup(node, pod))
    rollback.push("the namespaces", lambda: node.sandboxes.remove(pod.id))
    with span("namespaces"):
        await node.sandboxes.make(pod)
    rollback.push("the network", lambda: node.networks.delete(pod, pod.namespaces.net))
    if pod.namespaces.pid:
        rollback.push("the init", lambda: node.inits.stop(pod, runtime))
    network, init = await both(
        timed("CNI ADD", node.networks.add, pod),
        timed("init", node.inits.start, pod, node.sandboxes.directory(pod.id), runtime),
    )
    if network is not None:
        await node.sandboxes.set_addresses(pod, network.ips)
    made = replace(pod, network=network, init=init)
    async with node.nri.requests():
        rollback.push("what NRI plugins did", lambda: nri_events.pod_stops(node, pod.id))
        with span("NRI plugins"):
            await nri_events.pod_runs(node, made)
        await node.pods.update(pod.id, lambda _: replace(made, state=PodState.READY))


def _finished_before(node: Node, holder: str | None, config: cri.PodSandboxConfig, handler: str) -> str | None:
    """The id of the READY pod that an identical request made; None if there is none."""
    pod = node.pods.get(holder) if holder else None
    if pod is None or pod.state is not PodState.READY:
        return None
    same = pod.handler == handler and pod.config == config.SerializeToString(deterministic=True)
    return pod.id if same else None


async def _forget(node: Node, pod: PodRecord, rollback: Rollback) -> None:
    if rollback.failed and node.pods.get(pod.id):
        await node.pods.update(pod.id, lambda p: replace(p, state=PodState.STOPPING))
        return
    await nri_events.pod_goes(node, pod.id)
    node.names.release(pod.id)
