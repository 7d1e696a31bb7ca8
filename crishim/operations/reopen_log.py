"""ReopenContainerLog: after the kubelet has renamed the log file, have conmon open a new one of the old name."""

import asyncio
import contextlib
import os
from pathlib import Path

from crishim.engine import conmon
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState
from crishim.linux import executors
from crishim.node import Node

PATIENCE, PAUSE = 10.0, 0.005  # seconds conmon has to open it, and between two polls
GRACE = 0.5  # seconds for an earlier reopening; its daemon may have died before it told conmon


async def reopen_log(node: Node, id: str) -> None:
    """Return when conmon writes to the new file. Raises PRECONDITION, without making a file, if the container is not
    running; INVALID if the log's path is a symlink or no regular file; DEADLINE.
    """
    container = node.containers.find(id)
    if container.state is not ContainerState.RUNNING:
        raise CrishimError(
            Kind.PRECONDITION,
            f"container {container.id[:13]} is not running: its log is closed",
            container=container.id,
        )
    if not container.log_path:
        return
    bundle = node.launcher.bundle(container.id)
    new = await node.filesystems.attach_new_log(node.pods.find(container.pod_id), container)
    if new.is_first or not await _is_opened(new.link, GRACE):
        await executors.records(conmon.reopen_log, bundle, again=not new.is_first)
        if not await _is_opened(new.link, PATIENCE):
            text = f"container {container.id[:13]}: its monitor opened no new log within {PATIENCE:g} s"
            raise CrishimError(Kind.DEADLINE, text, container=container.id)


async def _is_opened(link: Path, patience: float) -> bool:
    """Whether conmon opens the new file within patience seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience):
            while await executors.records(os.path.lexists, link):  # noqa: ASYNC110
                await asyncio.sleep(PAUSE)
            return True
    return False
