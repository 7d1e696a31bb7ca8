"""Watching containers end: conmon's pidfd becomes readable, its exit file holds the code, the record gets both.

One pidfd a container and no task: 200 idle containers cost 200 file descriptors. What happens at an end, in order:
1. leftovers: in a PID namespace that is not the container's own, processes may outlive its init; they are killed.
2. the record goes to EXITED with code, reason and time; whoever waits in Store.wait() sees it now.
3. under the container's lock: the runtime forgets it (and its cgroup), the root file system is unmounted.
A conmon that dies without an exit file was killed: its container is killed too, since nobody would see its end.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec.structs import replace

from crishim.engine import conmon
from crishim.engine.handlers import Handlers
from crishim.errors import CrishimError
from crishim.lifecycle import ContainerState, has_process
from crishim.model import ContainerRecord
from crishim.state.locks import Locks
from crishim.state.store import Store
from crishim.verbs.owned import Owned
from crishim.verbs.subject import begin
from crishim.wire.linux import cgroups, executors, processes

RETRY = 1.0  # seconds until a record that could not be written (a full disk) is tried again
UNKNOWN_CODE = 255  # what containerd and CRI-O report when nobody saw the end
START_FAILED, START_FAILED_CODE = "StartError", 128  # reason and code of a container that could not be started

log = logging.getLogger("crishim.exits")


class Exits:
    """The watch over every container that has a process."""

    def __init__(
        self,
        containers: Store[ContainerRecord],
        handlers: Handlers,
        locks: Locks,
        owned: Owned,
        bundle: Callable[[str], Path],
        release_rootfs: Callable[[ContainerRecord], Awaitable[None]],
    ) -> None:
        """bundle: where a container id's bundle is. release_rootfs: unmounts what the container had mounted."""
        self._containers = containers
        self._handlers = handlers
        self._locks = locks
        self._owned = owned
        self._bundle = bundle
        self._release_rootfs = release_rootfs

    def watch(self, container: ContainerRecord) -> None:
        """Record the container's end when it comes; at once if it came already."""
        fd = processes.open_pidfd(container.monitor) if container.monitor else None
        if fd is None:
            self._start_settling(container.id)
            return
        loop = asyncio.get_running_loop()

        def readable() -> None:
            loop.remove_reader(fd)
            processes.close(fd)
            self._start_settling(container.id)

        loop.add_reader(fd, readable)

    async def settle(self, id: str) -> None:
        """Record the end of a container whose conmon is gone, and free what it held.

        Nobody else would record it: what fails, for want of space, memory or descriptors, is tried again till it works.
        """
        container = self._containers.get(id)
        if container is None or not has_process(container.state):
            return
        begin(pod=container.pod_id, container=id)
        try:
            await self._record(container)
        except BaseException as error:
            asyncio.get_running_loop().call_later(RETRY, self._start_settling, id)
            if not isinstance(error, CrishimError | OSError):
                raise
            log.error("an exit cannot be recorded yet", extra={"container": id, "error": str(error)})
            return
        await self.release(id)

    def _start_settling(self, id: str) -> None:
        self._owned.start(self.settle(id), name=f"exit {id[:13]}")

    async def _record(self, container: ContainerRecord) -> None:
        bundle = self._bundle(container.id)
        ended = await executors.records(conmon.exit_record, bundle)
        await executors.processes(_end_leftovers, container)
        oom = await executors.records(conmon.was_oom_killed, bundle)
        code, at = ended or (UNKNOWN_CODE, time.time_ns())
        message = "" if ended else "its monitor (conmon) is gone without an exit code"
        await self._containers.update(container.id, lambda c: exited(c, code, at, oom, message))

    async def release(self, id: str) -> None:
        """Let the runtime forget an ended container and unmount its root file system; may be repeated."""
        async with self._locks.holding(id):
            container = self._containers.get(id)
            if container is None or has_process(container.state):
                return
            try:
                await self._handlers.get(container.handler).delete(id)
                await self._release_rootfs(container)
            except (CrishimError, OSError) as error:
                log.error("an ended container cannot be released", extra={"container": id, "error": str(error)})


def exited(container: ContainerRecord, code: int, at: int, oom: bool, message: str = "") -> ContainerRecord:
    """The record of a container that ended; unchanged if that is recorded already."""
    if not has_process(container.state):
        return container
    if container.reason == START_FAILED:
        reason, code = START_FAILED, START_FAILED_CODE
    elif message:
        reason = "Unknown"
    else:
        reason = "OOMKilled" if oom and code != 0 else "Completed" if code == 0 else "Error"
    return replace(
        container,
        state=ContainerState.EXITED,
        exit_code=code,
        finished_at=max(at, container.started_at),
        reason=reason,
        message=container.message or message,
        process=None,
        monitor=None,
    )


def _end_leftovers(container: ContainerRecord) -> None:
    if container.process and processes.is_alive(container.process):
        processes.send_signal(container.process, 9)
    if container.cgroup and not cgroups.kill(container.cgroup):
        log.warning("processes survive SIGKILL", extra={"container": container.id, "cgroup": container.cgroup})
