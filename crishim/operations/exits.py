"""Watch containers exit: conmon's pidfd becomes readable, its exit file has the code, the record is updated.

One pidfd a container and no task: 200 idle containers cost 200 file descriptors. At an exit, in this order:
1. leftovers: if the container shares a PID namespace, processes may outlive its init; they are killed.
2. the record becomes EXITED with code, reason and time; Store.wait() returns.
3. under the container's lock: the runtime deletes it and its cgroup, the root file system is unmounted.
A conmon that ends without an exit file was killed: its container is killed too, since its exit would not be seen.
"""

import asyncio
import logging
import os
import time

from msgspec.structs import replace

from crishim.engine import conmon
from crishim.errors import CrishimError
from crishim.lifecycle import ContainerState, has_process
from crishim.linux import cgroups, executors, processes
from crishim.model import ContainerRecord
from crishim.node import Node
from crishim.operations import afterwards, nri_events
from crishim.operations.log_context import begin
from crishim.operations.oom_kills import OOM_KILLED, was_oom_killed

RETRY = 1.0  # seconds until a record that could not be written (full disk) is written again
UNKNOWN_CODE = 255  # reported by containerd and CRI-O, too, for an exit that was not seen
START_FAILED, START_FAILED_CODE = "StartError", 128  # reason and code of a container that could not be started

log = logging.getLogger("crishim.exits")


def watch_exit(node: Node, container: ContainerRecord) -> None:
    """Record the container's exit when conmon ends; at once if it has."""
    fd = processes.open_pidfd(container.monitor) if container.monitor else None
    if fd is None:
        _start_settling(node, container.id)
        return
    loop = asyncio.get_running_loop()

    def readable() -> None:
        loop.remove_reader(fd)
        os.close(fd)
        _start_settling(node, container.id)

    loop.add_reader(fd, readable)


async def record_exit(node: Node, id: str) -> None:
    """Record the exit of a container whose conmon is gone, and release what it held.

    Nothing else records it, so a failure (disk, memory or descriptors exhausted) is retried until it succeeds.
    """
    container = node.containers.get(id)
    if container is None or not has_process(container.state):
        return
    begin(pod=container.pod_id, container=id)
    try:
        await _record(node, container)
    except BaseException as error:
        asyncio.get_running_loop().call_later(RETRY, _start_settling, node, id)
        if not isinstance(error, CrishimError | OSError):
            raise
        log.error("an exit cannot be recorded yet", extra={"container": id, "error": str(error)})
        return
    await release_container(node, id, afterwards.HEAD_START)


def _start_settling(node: Node, id: str) -> None:
    node.tasks.start(record_exit(node, id), name=f"exit {id[:13]}")


async def _record(node: Node, container: ContainerRecord) -> None:
    bundle = node.launcher.bundle(container.id)
    ended = await executors.records(conmon.exit_record, bundle)
    await executors.processes(_end_leftovers, container)
    code, at = ended or (UNKNOWN_CODE, time.time_ns())
    oom = code != 0 and await was_oom_killed(node, container, bundle)
    message = "" if ended else "its monitor (conmon) is gone without an exit code"
    async with node.nri.requests():  # every current plugin knows of it
        tell = node.nri.active
        await node.containers.update(container.id, lambda c: exited(c, code, at, oom, message, tell=tell))


async def release_container(node: Node, id: str, patience: float = 0.0) -> None:
    """Delete an exited container from the runtime and unmount its root file system; may be repeated.

    patience: seconds to delay it, unless another task waits for the lock (StopPodSandbox, RemoveContainer).
    """
    async with node.locks.holding(id):
        await node.locks.wanted(id, patience)
        container = node.containers.get(id)
        if container is None or has_process(container.state):
            return
        try:
            await node.handlers.get(container.handler).delete(id, dead=True)
            await node.filesystems.release(container)
            await nri_events.container_stopped(node, id)
        except (CrishimError, OSError) as error:
            log.error("an ended container cannot be released", extra={"container": id, "error": str(error)})


def exited(
    container: ContainerRecord, code: int, at: int, oom: bool, message: str = "", *, tell: bool = False
) -> ContainerRecord:
    """The record of an exited container; unchanged if the exit is recorded already. tell: notify NRI plugins."""
    if not has_process(container.state):
        return container
    if container.reason == START_FAILED:
        reason, code = START_FAILED, START_FAILED_CODE
    elif message:
        reason = "Unknown"
    else:
        reason = OOM_KILLED if oom and code != 0 else "Completed" if code == 0 else "Error"
    return replace(
        container,
        state=ContainerState.EXITED,
        exit_code=code,
        finished_at=max(at, container.started_at),
        reason=reason,
        message=container.message or message,
        process=None,
        monitor=None,
        restore=False,
        stop_unannounced=tell,
    )


def _end_leftovers(container: ContainerRecord) -> None:
    if container.process and processes.is_alive(container.process):
        processes.send_signal(container.process, 9)
    if container.cgroup and not cgroups.kill(container.cgroup):
        log.warning("processes survive SIGKILL", extra={"container": container.id, "cgroup": container.cgroup})
