"""ReopenContainerLog: the kubelet renamed the log file, the container's monitor opens a new one at its path."""

import asyncio
import contextlib
from pathlib import Path

from crishim.engine import conmon
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState
from crishim.linux import executors
from crishim.linux.pod_paths import looking_at
from crishim.node import Node

PATIENCE, PAUSE = 10.0, 0.005  # seconds until the new file must be there, and between two looks


async def reopen_log(node: Node, id: str) -> None:
    """Return when the new file exists. PRECONDITION, and no file made, if the container is not running.

    INVALID: a link is in the way to the log.
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

    def new_file() -> bool:
        looking_at(container.log_path)
        return Path(container.log_path).exists()

    await node.filesystems.attach_log(node.pods.find(container.pod_id), container)
    await executors.records(conmon.reopen_log, node.launcher.bundle(container.id))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while not await node.paths.run(container.pod_id, new_file):  # noqa: ASYNC110
                await asyncio.sleep(PAUSE)
            return
    raise CrishimError(
        Kind.DEADLINE, f"container {container.id[:13]}: no new log file within {PATIENCE:g} s", container=container.id
    )
