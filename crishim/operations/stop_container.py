"""StopContainer: send the stop signal, wait the grace period, send SIGKILL, wait until the exit is recorded.

No lock is held while waiting: a second call with a shorter timeout runs beside the first and kills sooner.
"""

import asyncio
import contextlib
import logging
import signal

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState, has_process
from crishim.linux import executors, processes
from crishim.model import ContainerRecord
from crishim.node import Node
from crishim.operations.restore_container import end_unrestored

KILL_PATIENCE = 60.0  # seconds after SIGKILL; longer only in uninterruptible sleep
MONITOR_PATIENCE = 10.0  # seconds after SIGKILL until conmon must have recorded the exit

log = logging.getLogger("crishim.stop")


async def stop_container(node: Node, id: str, timeout: float) -> None:
    """Stop a container; OK if it has exited or does not exist.

    timeout: seconds between the stop signal and SIGKILL; 0 or less kills at once. Raises DEADLINE if the process
    survives SIGKILL for a minute.
    """
    try:
        container = node.containers.find(id)
    except CrishimError as error:
        if error.kind is Kind.NOT_FOUND:
            return
        raise
    if not has_process(container.state):
        return
    if container.restore:
        await end_unrestored(node, container.id)
        after = node.containers.get(container.id)
        if after is None or not has_process(after.state):
            return
        container = after
    # A created container's process is still the runtime's own init, which only SIGKILL ends.
    created = container.state is ContainerState.CREATED
    await node.netdevices.hold_namespaces(
        container.pod_id
    )  # devices in namespaces the container made would be lost with it
    if timeout > 0 and not created:
        if await _signalled(node, container, container.stop_signal, timeout):
            return
        await node.netdevices.hold_namespaces(container.pod_id)
    if await _signalled(node, container, signal.SIGKILL, MONITOR_PATIENCE):
        return
    await _end_monitor(container)
    if not await _signalled(node, container, signal.SIGKILL, KILL_PATIENCE - MONITOR_PATIENCE):
        raise CrishimError(
            Kind.DEADLINE,
            f"container {container.id[:13]} or its monitor is still alive {KILL_PATIENCE:g} s after SIGKILL",
            container=container.id,
        )


async def _end_monitor(container: ContainerRecord) -> None:
    """Kill the conmon of a dead container whose exit is not recorded: conmon was stopped (SIGSTOP), or blocks on a FIFO
    that a pod put in place of its log. The exit is then recorded without a code (exits.py).
    """
    if container.process is None or container.monitor is None:
        return
    if not await executors.processes(processes.is_alive, container.process):
        log.warning("a monitor that does not record its container's end is killed", extra={"container": container.id})
        await executors.processes(processes.send_signal, container.monitor, signal.SIGKILL)


async def _signalled(node: Node, container: ContainerRecord, number: int, patience: float) -> bool:
    """Send a signal and wait until the exit is recorded; False if that takes longer than patience seconds."""
    if container.process:
        await executors.processes(processes.send_signal, container.process, number)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience):
            await node.containers.wait(container.id, lambda c: not has_process(c.state))
            return True
    return False
