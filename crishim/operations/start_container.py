"""StartContainer: have the runtime start the created container."""

import time

from msgspec.structs import replace

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState, can_start
from crishim.model import ContainerRecord
from crishim.node import Node
from crishim.operations import nri_events, oom_kills, restore_container
from crishim.operations.exits import START_FAILED, START_FAILED_CODE
from crishim.operations.stop_container import stop_container
from crishim.tracing import span


async def start_container(node: Node, id: str) -> None:
    """Start a CREATED container. Raises PRECONDITION in any other state, unless it repeats a call whose response got
    lost.

    A start that fails, or that an NRI plugin refuses, leaves the container EXITED with reason StartError and the
    runtime's or the plugin's message.
    """
    before = node.containers.find(id)
    async with node.locks.holding(before.id):
        container = node.containers.find(before.id)
        if container.state is ContainerState.STARTING:
            container = await _broken_off(node, container)
        if not can_start(container.state):
            if _is_repetition(before, container, node.began):
                return
            raise CrishimError(
                Kind.PRECONDITION,
                f"container {container.id[:13]} is {container.state}, not created: it cannot be started",
                container=container.id,
            )
        started, killed = time.time_ns(), await oom_kills.before_start(node, container)
        container = await node.containers.update(
            container.id,
            lambda c: replace(c, state=ContainerState.STARTING, started_at=started, oom_kills_before=killed),
        )
        try:
            with span("NRI plugins"):
                await nri_events.container_starts(node, container)
            with span("runtime restore" if container.restore else "runtime start"):
                if container.restore:
                    launched = await restore_container.launch(node, container)
                else:
                    await node.handlers.get(container.handler).start(container.id)
        except CrishimError as error:
            message = error.message
            await node.containers.update(container.id, lambda c: _failed(c, message))
            failure = error
        else:
            if container.restore:
                container = await restore_container.restored(node, container, launched)
            else:
                container = await node.containers.update(container.id, lambda c: _running(c, started))
            await nri_events.container_started(node, container)
            return
    await stop_container(node, container.id, 0)
    raise failure


async def _broken_off(node: Node, container: ContainerRecord) -> ContainerRecord:
    """Settle an interrupted start by asking the runtime: CREATED again or RUNNING; EXITED, too, for a restore."""
    if container.restore:
        return await restore_container.broken_off(node, container)
    created = await node.handlers.get(container.handler).state(container.id) == "created"
    after = ContainerState.CREATED if created else ContainerState.RUNNING
    return await node.containers.update(
        container.id, lambda c: replace(c, state=after) if c.state is ContainerState.STARTING else c
    )


def _is_repetition(before: ContainerRecord, container: ContainerRecord, began: int) -> bool:
    """Whether an earlier call started the container whose response may be lost: one to an earlier daemon, or one in
    progress when this call came. The command may have exited by now."""
    started = container.started_at != 0 and container.reason != START_FAILED
    return started and (container.started_at < began or before.state is not container.state)


def _running(container: ContainerRecord, started: int) -> ContainerRecord:
    """RUNNING, unless its exit was recorded first: a short command may have exited by now."""
    if container.state is ContainerState.STARTING:
        return replace(container, state=ContainerState.RUNNING)
    return replace(container, started_at=min(started, container.finished_at))


def _failed(container: ContainerRecord, message: str) -> ContainerRecord:
    """Set reason and message; the state becomes EXITED when the created process is dead (exits.py)."""
    code = container.exit_code if container.state is ContainerState.STARTING else START_FAILED_CODE
    return replace(container, reason=START_FAILED, message=message, exit_code=code, started_at=0)
