"""Whether a container was ended by the OOM killer.

conmon writes a file if so, provided it reads the cgroup's memory.events before the cgroup is removed. With the systemd
driver that is a race: systemd removes the scope as soon as the last process has exited. So the oom_kill counts are read
as well: the container's own while its cgroup exists, else that of its pod's slice, which includes its children.
"""

from pathlib import Path

from crishim.engine import conmon
from crishim.lifecycle import has_process
from crishim.linux import executors, oom_kills, slices
from crishim.model import ContainerRecord
from crishim.node import Node

OOM_KILLED = "OOMKilled"  # a container's reason


async def before_start(node: Node, container: ContainerRecord) -> int | None:
    """The oom_kill count of its pod's slice before the container runs; None if that is not needed (cgroupfs)."""
    if not slices.is_scope(container.cgroup):
        return None
    pod = node.pods.find(container.pod_id)
    return await executors.kernel(oom_kills.count, slices.expand(pod.cgroup_parent)) or 0


async def was_oom_killed(node: Node, container: ContainerRecord, bundle: Path) -> bool:
    """For a container with a non-zero exit code, before its exit is recorded."""
    if await executors.records(conmon.was_oom_killed, bundle):
        return True
    own = await executors.kernel(oom_kills.count, container.cgroup)
    before, pod = container.oom_kills_before, node.pods.get(container.pod_id)
    if own is not None or before is None or pod is None:  # before is None: started by an older daemon, or no slice
        return bool(own)
    others = [c for c in node.containers if c.pod_id == pod.id and c.id != container.id]
    if any(c.reason == OOM_KILLED and c.finished_at >= container.started_at for c in others):
        return False  # their cgroups are gone: the kill was theirs, as far as can be told
    running = [c.cgroup for c in others if has_process(c.state)]
    return await executors.kernel(_more_than, slices.expand(pod.cgroup_parent), before, running)


def _more_than(slice_path: str, before: int, others: list[str]) -> bool:
    """Whether the slice has counted more kills since than the other containers. Blocks."""
    return (oom_kills.count(slice_path) or 0) - before - sum(oom_kills.count(c) or 0 for c in others) > 0
