"""Whether a pod takes a container of that name now, and the record that says it does.

Holding the pod's lock from the look at its state until the container is made is what keeps a container from appearing
in a pod that is being stopped: StopPodSandbox takes the same lock to say so.
"""

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

from crishim.errors import CrishimError, Kind
from crishim.ids import new_id
from crishim.lifecycle import ContainerState, can_host_containers
from crishim.model import ContainerRecord, PodRecord
from crishim.node import Node
from crishim.operations.log_context import about
from crishim.pb import cri_pb2 as cri
from crishim.state.names import container_name


@contextlib.asynccontextmanager
async def admit(node: Node, request: cri.CreateContainerRequest) -> AsyncIterator[tuple[PodRecord, ContainerRecord]]:
    """Hold the pod's lock and give the pod with a new record (CREATING, not yet on disk) for the container.

    A name in use raises EXISTS, unless an identical request made a container that is still CREATED: then that one's
    record is given. PRECONDITION: the pod is not ready.
    """
    pod = node.pods.find(request.pod_sandbox_id)
    about(pod=pod.id)
    async with node.locks.holding(pod.id):
        pod = node.pods.find(pod.id)
        if not can_host_containers(pod.state):
            raise CrishimError(
                Kind.PRECONDITION, f"pod sandbox {pod.id[:13]} is {pod.state}: it takes no container", pod=pod.id
            )
        metadata = request.config.metadata
        name = container_name(pod.id, metadata.name, metadata.attempt)
        config = request.config.SerializeToString(deterministic=True)
        before = node.containers.get(node.names.holder(name) or "")
        if before is not None and before.state is ContainerState.CREATED and before.config == config:
            yield pod, before
            return
        container = ContainerRecord(
            id=new_id(),
            pod_id=pod.id,
            state=ContainerState.CREATING,
            config=config,
            handler=pod.handler or node.config.runtimes.default,
            image_id="",
            image_ref="",
            created_at=time.time_ns(),
            log_path=log_path(pod.parse_config().log_directory, request.config.log_path),
        )
        node.names.reserve(name, container.id, "container")
        about(container=container.id)
        try:
            yield pod, container
        except BaseException:
            if node.containers.get(container.id) is None:
                node.names.release(container.id)
            raise


def log_path(directory: str, name: str) -> str:
    """The absolute path of a container's log: CRI gives a directory with the pod and a name below it. "" for no log.

    The directories are the client's own (root's); still, a name that climbs out of the directory is refused.
    """
    if not name:
        return ""
    if name.startswith("/"):
        path = Path(name)
    elif directory:
        path = Path(directory) / name
    else:
        return ""
    if ".." in path.parts or not path.is_absolute():
        raise CrishimError(Kind.INVALID, f"log_path {name!r} does not lie below the pod's log directory")
    return str(path)
