"""The RPCs of containers."""

from collections.abc import AsyncIterator, Iterable

from crishim.cri.batches import batches
from crishim.cri.describe import describe_container
from crishim.cri.filters import selects_labels
from crishim.cri.message_limit import fit
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState, is_visible_container
from crishim.model import ContainerRecord
from crishim.node import Node
from crishim.operations.create_container import create_container
from crishim.operations.log_context import about
from crishim.operations.remove_container import remove_container
from crishim.operations.start_container import start_container
from crishim.operations.stop_container import stop_container
from crishim.pb import cri_pb2 as cri
from crishim.signals import to_cri
from crishim.state.store import Store

STATES = {
    ContainerState.CREATED: cri.CONTAINER_CREATED,
    ContainerState.STARTING: cri.CONTAINER_CREATED,
    ContainerState.RUNNING: cri.CONTAINER_RUNNING,
    ContainerState.EXITED: cri.CONTAINER_EXITED,
    ContainerState.UNKNOWN: cri.CONTAINER_UNKNOWN,
}


async def CreateContainer(node: Node, request: cri.CreateContainerRequest) -> cri.CreateContainerResponse:
    return cri.CreateContainerResponse(container_id=await create_container(node, request))


async def StartContainer(node: Node, request: cri.StartContainerRequest) -> cri.StartContainerResponse:
    _note(node.containers, request.container_id)
    await start_container(node, request.container_id)
    return cri.StartContainerResponse()


async def StopContainer(node: Node, request: cri.StopContainerRequest) -> cri.StopContainerResponse:
    _note(node.containers, request.container_id)
    await stop_container(node, request.container_id, request.timeout)
    return cri.StopContainerResponse()


async def RemoveContainer(node: Node, request: cri.RemoveContainerRequest) -> cri.RemoveContainerResponse:
    _note(node.containers, request.container_id)
    await remove_container(node, request.container_id)
    return cri.RemoveContainerResponse()


async def ContainerStatus(node: Node, request: cri.ContainerStatusRequest) -> cri.ContainerStatusResponse:
    container = visible(node.containers, request.container_id)
    response = cri.ContainerStatusResponse(status=container_status(container))
    if request.verbose:
        response.info["info"] = await describe_container(node, container)
    return response


async def ListContainers(node: Node, request: cri.ListContainersRequest) -> cri.ListContainersResponse:
    return cri.ListContainersResponse(containers=fit(select(node.containers, request.filter), "containers"))


async def StreamContainers(
    node: Node, request: cri.StreamContainersRequest
) -> AsyncIterator[cri.StreamContainersResponse]:
    for batch in batches(select(node.containers, request.filter)):
        yield cri.StreamContainersResponse(containers=batch)


def visible(containers: Store[ContainerRecord], id: str) -> ContainerRecord:
    """The container of an id or an id's prefix, unless it is being created or removed. Raises NOT_FOUND, INVALID."""
    container = containers.find(id)
    if not is_visible_container(container.state):
        raise CrishimError(Kind.NOT_FOUND, f"container {id!r} does not exist")
    about(pod=container.pod_id, container=container.id)
    return container


def _note(containers: Store[ContainerRecord], id: str) -> None:
    """Add the container's pod to the log context of the call."""
    container = containers.get(id)
    if container is not None:
        about(pod=container.pod_id)


def container_status(container: ContainerRecord) -> cri.ContainerStatus:
    """A container as CRI's ContainerStatus."""
    config = container.parse_config()
    status = cri.ContainerStatus(
        id=container.id,
        metadata=config.metadata,
        state=STATES[container.state],
        created_at=container.created_at,
        started_at=container.started_at,
        finished_at=container.finished_at,
        exit_code=container.exit_code,
        image=_named(config.image),
        image_ref=container.image_ref,
        image_id=container.image_id,
        reason=container.reason,
        message=container.message,
        labels=config.labels,
        annotations=config.annotations,
        mounts=_mounts(container, config),
        log_path=container.log_path,
        stop_signal=to_cri(container.stop_signal),
    )
    status.resources.linux.ParseFromString(container.resources)
    if container.user is not None:
        user = container.user
        status.user.linux.CopyFrom(cri.LinuxContainerUser(uid=user.uid, gid=user.gid, supplemental_groups=user.groups))
    return status


def _named(image: cri.ImageSpec) -> cri.ImageSpec:
    """The image, named as in the pod's spec: the kubelet passes an id to CreateContainer, and shows this name."""
    named = cri.ImageSpec.FromString(image.SerializeToString())
    named.image = image.user_specified_image or image.image
    return named


def _mounts(container: ContainerRecord, config: cri.ContainerConfig) -> list[cri.Mount]:
    """The requested mounts; image volumes have the reference of the mounted image."""
    resolved = {m.container_path: m for m in container.mounts}
    mounts = []
    for requested in config.mounts:
        mount = cri.Mount.FromString(requested.SerializeToString())
        known = resolved.get(mount.container_path)
        if known is not None and known.image_ref:
            mount.image.image_ref = known.image_ref
        mounts.append(mount)
    return mounts


def select(containers: Iterable[ContainerRecord], wanted: cri.ContainerFilter) -> list[cri.Container]:
    """The containers that match every part of a filter, newest first."""
    chosen = []
    for container in sorted(containers, key=lambda c: -c.created_at):
        if not is_visible_container(container.state) or not container.id.startswith(wanted.id):
            continue
        if wanted.HasField("state") and wanted.state.state != STATES[container.state]:
            continue
        if not container.pod_id.startswith(wanted.pod_sandbox_id):
            continue
        config = container.parse_config()
        if selects_labels(wanted.label_selector, config.labels):
            chosen.append(
                cri.Container(
                    id=container.id,
                    pod_sandbox_id=container.pod_id,
                    metadata=config.metadata,
                    image=config.image,
                    image_ref=container.image_ref,
                    image_id=container.image_id,
                    state=STATES[container.state],
                    created_at=container.created_at,
                    labels=config.labels,
                    annotations=config.annotations,
                )
            )
    return chosen
