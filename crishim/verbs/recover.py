"""Recovery at start: compare the records with the node, finish or undo what was under way, sweep what has no record.

The daemon may have been killed between any two steps. Each verb writes its intent first (a record in a transient
state), so for every thing on the node there is a record that explains it, or it is nobody's:

    container CREATING          never answered: taken away
              STARTING          the runtime knows whether it was started
              CREATED, RUNNING  conmon watched on; if it is gone the exit file has the code
              REMOVING          removal is finished
    pod       CREATING          never answered: taken away
              READY             stays, if its namespaces exist; after a reboot NOTREADY
              STOPPING          the stop is tried again; should it fail, it waits for the client's next
              REMOVING          removal is finished

What an unreadable record stands for was adopted (verbs/adopt.py): it is watched, and nothing of it is taken away.
Sweeps are by name below our own directories only. A CNI plugin that the killed daemon had started may still run: it is
waited for, as what it makes after its DEL nobody would take away. Pods whose network is slow to go, or cannot go yet
because its add-on is not up, hold up the start for a bounded time and are finished while the daemon serves.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from crishim.engine.handlers import Handlers
from crishim.engine.sandbox import Sandboxes
from crishim.errors import CrishimError
from crishim.ids import is_id
from crishim.lifecycle import ContainerState, PodState, has_process
from crishim.model import ContainerRecord, PodRecord
from crishim.netdev.attach import NetDevices
from crishim.state.store import Store
from crishim.verbs.exits import Exits
from crishim.verbs.owned import Owned
from crishim.verbs.stop_pod import Teardown, device_pod
from crishim.wire.linux import executors, processes

log = logging.getLogger("crishim.recover")

PATIENCE = 10.0  # seconds the start waits for pods to be stopped
AT_ONCE = 8  # containers looked at side by side

Verb = Callable[[str], Awaitable[None]]
Sweep = Callable[[set[str]], Awaitable[None]]


class Recovery:
    """One start's recovery."""

    def __init__(
        self,
        pods: Store[PodRecord],
        containers: Store[ContainerRecord],
        exits: Exits,
        handlers: Handlers,
        sandboxes: Sandboxes,
        devices: NetDevices,
        owned: Owned,
    ) -> None:
        self._pods = pods
        self._containers = containers
        self._exits = exits
        self._handlers = handlers
        self._sandboxes = sandboxes
        self._devices = devices
        self._owned = owned

    async def run(self, *, remove_container: Verb, stop_pod: Verb, teardown: Teardown, sweeps: Sequence[Sweep]) -> None:
        """Bring records and node together. sweeps: each takes away what belongs to containers not of the given ids.

        Never raises for one pod's or container's trouble: it is logged, and the record stays for the client to act on.
        """
        whole = {p.id for p in self._pods if await executors.kernel(self._sandboxes.is_whole, p)}
        some = asyncio.Semaphore(AT_ONCE)

        async def look_at(container: ContainerRecord) -> None:
            async with some:
                await self._guarded(self._container(container, remove_container), container.id)

        await self._patiently({c.id: look_at(c) for c in self._containers}, "containers")
        alive = [device_pod(p) for p in self._pods if p.id in whole and p.namespaces.net]
        await self._guarded(self._devices.recover(alive), "network devices")
        await self._all_pods(whole, teardown, stop_pod)
        await self._guarded(self._sweep_runtimes(), "runtimes")
        await self._guarded(self._sweep_sandboxes(teardown), "sandboxes")
        for sweep in sweeps:
            await self._guarded(sweep({c.id for c in self._containers}), "containers")

    async def _all_pods(self, whole: set[str], teardown: Teardown, stop_pod: Verb) -> None:
        work = {
            pod.id: self._guarded(self._pod(pod, pod.id in whole, teardown, stop_pod), pod.id)
            for pod in self._pods
            if not self._pods.is_adopted(pod.id)
        }
        await self._patiently(work, "pods")

    async def _patiently(self, work: Mapping[str, Coroutine[Any, Any, None]], what: str) -> None:
        """Do work side by side; what takes longer than PATIENCE goes on while the daemon serves. work: by id."""
        tasks = [self._owned.start(step, name=f"recover {id[:13]}") for id, step in work.items()]
        _, late = await asyncio.wait(tasks, timeout=PATIENCE) if tasks else ((), ())
        if late:
            log.warning("recovery goes on while the daemon serves", extra={what: len(late)})

    async def _container(self, container: ContainerRecord, remove_container: Verb) -> None:
        if container.state in (ContainerState.CREATING, ContainerState.REMOVING):
            log.info("an unfinished container is removed", extra={"container": container.id})
            await remove_container(container.id)
        elif container.state is ContainerState.EXITED:
            await self._exits.release(container.id)
        elif container.monitor is None or not await executors.processes(processes.is_alive, container.monitor):
            await self._exits.settle(container.id)
        else:
            try:
                if container.state is ContainerState.STARTING:
                    await self._started(container)
            finally:
                self._exits.watch(container)
        if self._pods.get(container.pod_id) is None and not self._containers.is_adopted(container.id):
            log.error("a container whose pod has no record is removed", extra={"container": container.id})
            await remove_container(container.id)

    async def _started(self, container: ContainerRecord) -> None:
        """The daemon died around the runtime's start: only the runtime knows on which side.

        What is adopted and lives was started, unless the runtime says otherwise: a kubelet that saw it waiting would
        start another.
        """
        try:
            state = await self._handlers.get(container.handler).state(container.id)
        except CrishimError:
            if not self._containers.is_adopted(container.id):
                raise
            state = ""
        after = ContainerState.CREATED if state == "created" else ContainerState.RUNNING
        at = 0 if after is ContainerState.CREATED else container.started_at
        await self._containers.update(container.id, lambda c: replace(c, state=after, started_at=at))

    async def _pod(self, pod: PodRecord, whole: bool, teardown: Teardown, stop_pod: Verb) -> None:
        if pod.state is PodState.CREATING:
            log.info("an unfinished pod is removed", extra={"pod": pod.id})
            await teardown.wait_for_plugins(pod)
            await teardown.run(pod)
            await teardown.finish(pod)
            await self._pods.remove(pod.id)
        elif pod.state is PodState.STOPPING:
            await teardown.wait_for_plugins(pod)
            await stop_pod(pod.id)
        elif pod.state is PodState.REMOVING:
            await teardown.finish(pod)
            await self._pods.remove(pod.id)
        elif pod.state is PodState.READY and not (whole and await executors.processes(_has_init, pod)):
            log.warning("a pod's namespaces are gone: it is not ready any more", extra={"pod": pod.id})
            await stop_pod(pod.id)

    async def _sweep_runtimes(self) -> None:
        """Containers a runtime knows and we do not: created and killed before their record was written, or inits."""
        owned = {c.id for c in self._containers if has_process(c.state)}
        owned |= {f"{p.id}-init" for p in self._pods if p.init}
        for runtime in self._handlers:
            for id in await runtime.known() - owned:
                if is_id(id.removesuffix("-init")):
                    log.warning("a container nobody knows is deleted", extra={"container": id})
                    await runtime.delete(id)

    async def _sweep_sandboxes(self, teardown: Teardown) -> None:
        for id in await executors.kernel(self._sandboxes.known) - {p.id for p in self._pods}:
            if is_id(id):
                await self._guarded(teardown.run_unknown(id), id)

    async def _guarded(self, work: Awaitable[object], subject: str) -> None:
        try:
            await work
        except Exception as error:
            log.error("recovery failed", extra={"subject": subject, "error": str(error)})


def _has_init(pod: PodRecord) -> bool:
    return not pod.namespaces.pid or (pod.init is not None and processes.is_alive(pod.init))
