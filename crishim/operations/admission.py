"""Check that a pod can take a new container of that name, and make the container's record.

The pod's lock is held from the check of its state until the container is created, so that no container is added to a
pod that is being stopped: StopPodSandbox takes the same lock to set STOPPING.
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
    """Hold the pod's lock; yields the pod and a new record (CREATING, not on disk yet) for the container.

    Raises PRECONDITION if the pod is not ready, EXISTS if the name is in use, unless an identical request made a
    container that is still CREATED: then its record is yielded.
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
    """The absolute path of a container's log, from the pod's log_directory and the container's log_path; "" for no log.

    Raises INVALID for a name with "..", although the directories are the client's own (root's).
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
