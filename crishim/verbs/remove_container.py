"""RemoveContainer: kill it if it runs, then take away everything it had. The log file stays: it is the client's."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec.structs import replace

from crishim.engine import conmon
from crishim.engine.handlers import Handlers
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState
from crishim.model import ContainerRecord
from crishim.state.locks import Locks
from crishim.state.store import Store
from crishim.verbs.stop_container import stop_container
from crishim.wire.linux import executors


async def remove_container(
    id: str,
    *,
    containers: Store[ContainerRecord],
    locks: Locks,
    handlers: Handlers,
    bundle: Callable[[str], Path],
    delete_rootfs: Callable[[str], Awaitable[None]],
    hold_devices: Callable[[str], Awaitable[None]],
) -> None:
    """Remove a container in whatever state; OK if it is not there.

    delete_rootfs: unmounts the container's root file system and image volumes and deletes its writable layer.
    hold_devices: as in stop_container().
    """
    try:
        container = containers.find(id)
    except CrishimError as error:
        if error.kind is Kind.NOT_FOUND:
            return
        raise
    await stop_container(container.id, 0, containers=containers, hold_devices=hold_devices)
    async with locks.holding(container.id):
        current = containers.get(container.id)
        if current is None:
            return
        if current.state is not ContainerState.CREATING:
            await containers.update(container.id, lambda c: replace(c, state=ContainerState.REMOVING))
        await discard(current, handlers, bundle(container.id), delete_rootfs)
        await containers.remove(container.id)


async def discard(
    container: ContainerRecord, handlers: Handlers, bundle: Path, delete_rootfs: Callable[[str], Awaitable[None]]
) -> None:
    """Take away everything a container had on the node but its record; any of it may be gone already."""
    await executors.processes(conmon.kill_monitor, bundle)
    await handlers.get(container.handler).delete(container.id)
    await delete_rootfs(container.id)
    await executors.deletion(shutil.rmtree, bundle, ignore_errors=True)
