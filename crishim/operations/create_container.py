"""CreateContainer: root file system, devices, config.json, and the runtime's create under conmon.

    admission (the pod is ready, the name is free) -> record CREATING -> root file system and image volumes mounted
    -> specification, changed by NRI plugins -> network devices planned, and moved by us or by the runtime
    -> config.json -> conmon + runtime create
    -> network devices verified and repaired -> record CREATED, its exit watched

The container's process exists when this returns and waits for StartContainer; that of a container from a checkpoint is
made at its start.
"""

import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec.structs import replace

from crishim.engine import conmon
from crishim.lifecycle import ContainerState
from crishim.model import ContainerRecord, ImageRecord, PodRecord
from crishim.node import Node
from crishim.nri.plugins import Changes
from crishim.operations import nri_events
from crishim.operations.admission import admit
from crishim.operations.checkpoint_container import check_possible
from crishim.operations.exits import watch_exit
from crishim.operations.network_devices import Wanted, plan_devices, return_devices, wanted_devices
from crishim.operations.nri_creation import adjust_container
from crishim.operations.restore_container import Restored, requested_checkpoint
from crishim.operations.rollback import Rollback
from crishim.operations.target import target_namespace
from crishim.pb import cri_pb2 as cri
from crishim.spec.build import Built
from crishim.spec.validate import check_container
from crishim.tracing import span

T = TypeVar("T")


async def create_container(node: Node, request: cri.CreateContainerRequest, restored: Restored | None = None) -> str:
    """Create a container, CREATED when this returns, and return its id. restored: the checkpoint it is made from;
    without it the image may be a checkpoint's path (restore_container.py).

    Raises INVALID, NOT_FOUND (pod, image, device), PRECONDITION (pod not ready, a device that cannot be given), EXISTS
    (name and attempt in use). After an error nothing is left, and network devices are back on the host.
    """
    config = request.config
    async with contextlib.AsyncExitStack() as stack:
        restored = restored or await stack.enter_async_context(requested_checkpoint(node, config))
        image = await stack.enter_async_context(node.filesystems.using(config, restored.base if restored else ""))
        pod, container = await stack.enter_async_context(admit(node, request))
        if container.state is ContainerState.CREATED:  # the response to an identical request got lost
            return container.id
        check_container(config, pod.parse_config())
        if restored:
            await check_possible(node, container.handler, "restored")
        wanted = await wanted_devices(node, pod, config)
        # The cgroup is recorded before it is used: by it the processes that a killed runtime left are found.
        group = node.launcher.cgroup(pod, container.id)
        container = replace(container, image_id=image.id, image_ref=image.id, cgroup=group)
        rollback = Rollback()
        try:
            async with rollback:
                changes = await _make(node, pod, container, image, wanted, restored, rollback)
        except BaseException:
            if not rollback.failed:
                await nri_events.container_goes(node, container.id)
                await node.containers.remove(container.id)
            raise
        created = node.containers.find(container.id)
        if not restored:
            watch_exit(node, created)
        await nri_events.container_created(node, created)
    await node.nri.apply(changes)
    return container.id


async def _make(
    node: Node,
    pod: PodRecord,
    container: ContainerRecord,
    image: ImageRecord,
    wanted: Wanted,
    restored: Restored | None,
    rollback: Rollback,
) -> Changes:
    """Create a planned container; returns the changes NRI plugins want to other containers."""
    filesystems, launcher, config = node.filesystems, node.launcher, container.parse_config()
    await node.containers.add(container)
    rollback.push("the root file system", _bound(filesystems.delete, container.id))
    with span("root file system"):
        prepared = await filesystems.prepare(pod, container, image, restored.fill if restored else None)
    rollback.push("the runtime's container", _bound(launcher.discard, container))
    async with node.nri.requests(), target_namespace(node, pod, config) as target:
        with span("specification"):
            described = restored.described(container) if restored else container
            drafted = await launcher.draft(pod, described, image, prepared, wanted.edits, target)
        with span("NRI plugins"):
            adjusted = await adjust_container(node, pod, container, drafted, wanted.network)
        built = drafted.built
        if restored:
            restored.check(node, pod, container, drafted, adjusted.network)
        runtime = None if restored else launcher.runtime(container)
        async with await plan_devices(node, pod, adjusted, built.spec, runtime) as plan:
            with span("network devices"):
                await plan.begin()
            with span("config.json"):
                await launcher.write_bundle(container, drafted, plan.entries)
            container = replace(
                container,
                user=built.user,
                mounts=tuple(m.record() for m in prepared.mounts),
                resources=adjusted.resources.SerializeToString(deterministic=True),
                stop_signal=launcher.stop_signal(config, image),
            )
            if restored:
                created = replace(container, state=ContainerState.CREATED, restore=True)
            else:
                with span("runtime create"):
                    launched = await _launch(node, container, built)
                created = replace(
                    container,
                    state=ContainerState.CREATED,
                    process=launched.process,
                    monitor=launched.monitor,
                )
            with span("network devices verified"):
                await plan.verify_and_repair()
        rollback.push("the network devices", lambda: return_devices(node, pod, plan))
        await node.containers.update(container.id, lambda _: created)
    return adjusted.changes


async def _launch(node: Node, container: ContainerRecord, built: Built) -> conmon.Launched:
    """The runtime's create. On an error the runtime is ended first: it may still be moving devices to be returned."""
    async with Rollback() as rollback:
        rollback.push("the runtime's create", _bound(node.launcher.end, container))
        launched = await node.launcher.create(container, node.filesystems.log(container))
        await node.launcher.verify(container, built, launched.process)
    return launched


def _bound(step: Callable[[T], Awaitable[object]], argument: T) -> Callable[[], Awaitable[object]]:
    return lambda: step(argument)
