"""RemovePodSandbox: stop it, remove its containers, forget it."""

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import PodState
from crishim.model import ContainerRecord, PodRecord
from crishim.state.locks import Locks
from crishim.state.store import Store
from crishim.verbs.stop_pod import Teardown
from crishim.verbs.subject import about


async def remove_pod(
    id: str,
    *,
    pods: Store[PodRecord],
    containers: Store[ContainerRecord],
    locks: Locks,
    stop_pod: Callable[[str], Awaitable[None]],
    remove_container: Callable[[str], Awaitable[None]],
    teardown: Teardown,
) -> None:
    """Remove a pod with all its containers; OK if it is not there. Raises if its network cannot be torn down."""
    try:
        pod = pods.find(id)
    except CrishimError as error:
        if error.kind is Kind.NOT_FOUND:
            return
        raise
    about(pod=pod.id)
    await stop_pod(pod.id)
    for container in [c for c in containers if c.pod_id == pod.id]:
        await remove_container(container.id)
    async with locks.holding(pod.id):
        if pods.get(pod.id) is None:
            return
        await pods.update(pod.id, lambda p: replace(p, state=PodState.REMOVING))
        await teardown.finish(pod)
        await pods.remove(pod.id)
