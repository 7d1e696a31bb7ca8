"""Pause containers, so that a checkpoint has their processes and files of one moment.

A daemon that is killed meanwhile leaves them paused: the caller writes its intent first, and the next daemon calls
thaw() for it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence

from crishim.errors import CrishimError
from crishim.linux import cgroup_limits, executors
from crishim.model import ContainerRecord
from crishim.node import Node

log = logging.getLogger("crishim.pausing")


@contextlib.asynccontextmanager
async def paused(node: Node, containers: Sequence[ContainerRecord]) -> AsyncIterator[None]:
    """Pause the containers during the context, and resume all of them after it, also after an error."""
    try:
        try:
            async with asyncio.TaskGroup() as group:
                for container in containers:
                    group.create_task(node.handlers.get(container.handler).pause(container.id))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        yield
    finally:
        await thaw(containers)


async def thaw(containers: Sequence[ContainerRecord]) -> None:
    """Resume all containers, also if cancelled meanwhile; each is tried twice."""
    cancelled = False
    for container in containers:
        for attempt in (1, 2):
            try:
                await executors.kernel(cgroup_limits.thaw, container.cgroup)
                break
            except asyncio.CancelledError:
                cancelled = True
            except (OSError, CrishimError) as error:
                facts = {"container": container.id, "attempt": attempt}
                log.error("a container cannot be resumed", extra=facts, exc_info=error)
    if cancelled:
        raise asyncio.CancelledError
