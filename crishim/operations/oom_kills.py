"""Whether a container ended because memory ran out.

conmon says so with a file, if it reads the group's memory.events before the group is gone. With the systemd driver that
is a race: systemd removes the scope as soon as the last process has ended. So the counts are read as well: the
container's own while its group is there, else that of its pod's slice, which counts what was below it.
"""

from pathlib import Path

from crishim.engine import conmon
from crishim.lifecycle import has_process
from crishim.linux import executors, oom_kills, slices
from crishim.model import ContainerRecord
from crishim.node import Node

OOM_KILLED = "OOMKilled"  # a container's reason


async def before_start(node: Node, container: ContainerRecord) -> int | None:
    """What its pod's slice counts before the container runs; None where it is not asked for later."""
    if not slices.is_scope(container.cgroup):
        return None
    pod = node.pods.find(container.pod_id)
    return await executors.kernel(oom_kills.count, slices.expand(pod.cgroup_parent)) or 0


async def was_oom_killed(node: Node, container: ContainerRecord, bundle: Path) -> bool:
    """Of a container that failed and whose end is not recorded yet."""
    if await executors.records(conmon.was_oom_killed, bundle):
        return True
    own = await executors.kernel(oom_kills.count, container.cgroup)
    before, pod = container.oom_kills_before, node.pods.get(container.pod_id)
    if own is not None or before is None or pod is None:  # None: an older daemon started it, or no slice is asked
        return bool(own)
    others = [c for c in node.containers if c.pod_id == pod.id and c.id != container.id]
    if any(c.reason == OOM_KILLED and c.finished_at >= container.started_at for c in others):
        return False  # theirs, or both: their groups are gone, and nobody can tell
    running = [c.cgroup for c in others if has_process(c.state)]
    return await executors.kernel(_more_than, slices.expand(pod.cgroup_parent), before, running)


def _more_than(slice_path: str, before: int, theirs: list[str]) -> bool:
    """Whether the slice counts a kill that can be no other container's. Blocks."""
    return (oom_kills.count(slice_path) or 0) - before - sum(oom_kills.count(c) or 0 for c in theirs) > 0
