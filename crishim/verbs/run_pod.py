"""RunPodSandbox: a record, namespaces, the primary network, and where asked an init. No process otherwise.

    record CREATING -> namespaces and files -> CNI ADD (and beside it the init) -> record READY

Secondary network devices are not made here: they come with the containers that ask for them (create_container.py).
"""

import asyncio
import time

from msgspec.structs import replace

from crishim.cni.network import PodNetworks
from crishim.engine.handlers import Handlers
from crishim.engine.init import Inits
from crishim.engine.sandbox import Sandboxes
from crishim.errors import CrishimError, Kind
from crishim.ids import new_id
from crishim.lifecycle import PodState
from crishim.model import PodRecord
from crishim.pb import cri_pb2 as cri
from crishim.spec.validate import check_pod
from crishim.state.names import Names, pod_name
from crishim.state.store import Store
from crishim.verbs.stop_pod import remove_cgroup
from crishim.verbs.undo import Undo


async def run_pod(
    config: cri.PodSandboxConfig,
    handler: str,
    *,
    pods: Store[PodRecord],
    names: Names,
    handlers: Handlers,
    sandboxes: Sandboxes,
    networks: PodNetworks,
    inits: Inits,
) -> str:
    """Make a pod sandbox and return its id; it is READY then.

    A repeated request for a pod that is READY (a client whose deadline passed asks again) returns that pod's id.
    Raises INVALID for a configuration or handler that cannot work, EXISTS for a name in use, UNAVAILABLE without a
    network configuration. After a failure nothing is left; should the clean-up itself fail, the pod stays as NOTREADY
    for a later Stop and Remove.
    """
    check_pod(config)
    runtime = handlers.get(handler)
    metadata = config.metadata
    name = pod_name(metadata.namespace, metadata.name, metadata.uid, metadata.attempt)
    finished = _finished_before(names.holder(name), config, handler, pods)
    if finished:
        return finished
    id = new_id()
    names.reserve(name, id, "pod sandbox")
    pod = PodRecord(
        id=id,
        state=PodState.CREATING,
        config=config.SerializeToString(deterministic=True),
        handler=handler,
        created_at=time.time_ns(),
        namespaces=sandboxes.plan(id, config),
        cgroup_parent=config.linux.cgroup_parent or f"/crishim/{id}",
    )
    undo = Undo()
    try:
        async with undo:
            if pod.namespaces.net:
                pod = replace(pod, network=await networks.plan(config))
            await pods.add(pod)
            undo.push("the cgroup", lambda: remove_cgroup(pod))
            undo.push("the namespaces", lambda: sandboxes.remove(id))
            await sandboxes.make(pod)
            async with asyncio.TaskGroup() as steps:
                init = None
                if pod.namespaces.pid:
                    undo.push("the init", lambda: inits.stop(pod, runtime))
                    init = steps.create_task(inits.start(pod, sandboxes.directory(id), runtime))
                if pod.network is not None:
                    undo.push("the network", lambda: networks.delete(pod, pod.namespaces.net))
                    pod = replace(pod, network=await networks.add(pod))
                    await sandboxes.set_addresses(pod, pod.network.ips if pod.network else ())
            pod = replace(pod, state=PodState.READY, init=init.result() if init else None)
            await pods.update(id, lambda _: pod)
    except BaseException as error:
        await _forget(pod, undo, pods, names)
        first = _first(error)
        if first is error:
            raise
        raise first from error
    return id


def _finished_before(
    holder: str | None, config: cri.PodSandboxConfig, handler: str, pods: Store[PodRecord]
) -> str | None:
    """The id of the READY pod that an identical request made before."""
    pod = pods.get(holder) if holder else None
    if pod is None or pod.state is not PodState.READY:
        return None
    same = pod.handler == handler and pod.config == config.SerializeToString(deterministic=True)
    return pod.id if same else None


async def _forget(pod: PodRecord, undo: Undo, pods: Store[PodRecord], names: Names) -> None:
    if undo.failed and pods.get(pod.id):
        await pods.update(pod.id, lambda p: replace(p, state=PodState.STOPPING))
        return
    await pods.remove(pod.id)
    names.release(pod.id)


def _first(error: BaseException) -> BaseException:
    """The error a group of parallel steps failed with: the first one that is ours."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    ours = [e for e in error.exceptions if isinstance(e, CrishimError)]
    return ours[0] if ours else CrishimError(Kind.INTERNAL, f"{error.exceptions[0]}")
