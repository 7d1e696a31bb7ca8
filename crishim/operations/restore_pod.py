"""RestorePod: make a new pod with the containers of a CheckpointPod, CREATED; each is restored at its start.

    checkpoint.json and all archives opened -> RunPodSandbox -> CreateContainer from each archive
    -> check that all network devices are there

The checkpoint is only read. After an error or cancellation the pod is removed with its containers. A daemon that is
killed leaves an ordinary pod: the same request continues with it, or the client removes it.
"""

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from crishim.decoding import NOT_JSON
from crishim.engine.checkpoint_archive import MAX_DESCRIPTION, Archive, open_trusted
from crishim.errors import CrishimError, Kind
from crishim.linux import executors, files
from crishim.node import Node
from crishim.operations.checkpoint_pod import MANIFEST, Manifest
from crishim.operations.create_container import create_container
from crishim.operations.remove_pod import remove_pod
from crishim.operations.restore_container import Restored, check_devices, opened
from crishim.operations.rollback import Rollback
from crishim.operations.run_pod import run_pod
from crishim.pb import cri_pb2 as cri

_FILE = re.compile(r"container-[0-9]{1,4}\.tar")


async def restore_pod(node: Node, request: cri.RestorePodRequest) -> cri.RestorePodResponse:
    """Make the pod, and return its id and those of its containers.

    Raises what run_pod() and create_container() do, INVALID for an invalid checkpoint or one that does not match the
    request, DENIED for one that others than root may write. After an error nothing is left.
    """
    if request.options:
        raise CrishimError(Kind.INVALID, f"there is no option {min(request.options)!r}")
    top = Path(request.checkpoint_path)
    if not top.is_absolute():
        raise CrishimError(Kind.INVALID, f"checkpoint_path must be an absolute path, not {request.checkpoint_path!r}")
    manifest = await executors.images(_read_manifest, top)
    files_by_name = {m.name: m.file for m in manifest.containers}
    names = [c.metadata.name for c in request.container_configs]
    _check_names(files_by_name, names)
    async with contextlib.AsyncExitStack() as stack:
        archives: list[Archive] = []
        for config in request.container_configs:
            path = str(top / files_by_name[config.metadata.name])
            archives.append(await stack.enter_async_context(opened(node, top, path)))
            await _check_image(node, config, archives[-1])
        rollback = await stack.enter_async_context(Rollback())
        before = {pod.id for pod in node.pods}
        id = await run_pod(node, request.config, request.runtime_handler)
        if id not in before:  # else an identical request made it, whose response got lost
            rollback.push("the pod", lambda: remove_pod(node, id))
        made = await _containers(node, id, request, archives)
        check_devices(manifest.net_devices, {a.name for a in node.netdevices.attachments(id)})
    return cri.RestorePodResponse(pod_sandbox_id=id, restored_containers=made)


async def _containers(
    node: Node, pod_id: str, request: cri.RestorePodRequest, archives: Sequence[Archive]
) -> list[cri.RestoredContainer]:
    made = []
    for config, archive in zip(request.container_configs, archives, strict=True):
        one = cri.CreateContainerRequest(pod_sandbox_id=pod_id, config=config, sandbox_config=request.config)
        id = await create_container(node, one, Restored(archive, environment=True, devices=False))
        made.append(cri.RestoredContainer(name=config.metadata.name, container_id=id))
    return made


def _read_manifest(top: Path) -> Manifest:
    path = str(top / MANIFEST)
    fd = open_trusted(top, path)
    with open(fd, "rb") as file:  # noqa: PTH123
        try:
            manifest = msgspec.json.decode(files.read_bounded(file.fileno(), path, MAX_DESCRIPTION), type=Manifest)
        except (OSError, *NOT_JSON) as error:
            raise CrishimError(Kind.INVALID, f"{path} is not what CheckpointPod writes: {error}", path=path) from error
    wrong = [m.file for m in manifest.containers if not _FILE.fullmatch(m.file)]
    if manifest.version != 1 or wrong:
        what = f"the file name {wrong[0][:200]!r}" if wrong else f"version {manifest.version}"
        raise CrishimError(Kind.INVALID, f"{path} has {what}: this version of crishim did not write it", path=path)
    return manifest


def _check_names(files_by_name: dict[str, str], names: Sequence[str]) -> None:
    if not names:
        raise CrishimError(Kind.INVALID, "no container is named")
    for name in names:
        if names.count(name) > 1:
            raise CrishimError(Kind.INVALID, f"container {name!r} is named more than once")
        if name not in files_by_name:
            raise CrishimError(Kind.INVALID, f"the checkpoint has no container {name!r}")
    for name in sorted(files_by_name.keys() - set(names)):
        raise CrishimError(Kind.INVALID, f"container {name!r} of the checkpoint is not asked for")


async def _check_image(node: Node, config: cri.ContainerConfig, archive: Archive) -> None:
    name, about = config.image.image, archive.about
    image = await node.images.find(name) if name else None
    if name != about.rootfs_image and (image is None or image.id != about.rootfs_image_ref):
        text = f"container {config.metadata.name!r} was made of image {about.rootfs_image!r}, the request has {name!r}"
        raise CrishimError(Kind.INVALID, text, image=name)
