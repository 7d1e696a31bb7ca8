"""The RPCs of the ImageService."""

import json
from collections.abc import AsyncIterator
from typing import Any

from crishim.cri.batches import batches
from crishim.errors import CrishimError, Kind
from crishim.model import ImageRecord
from crishim.node import Node
from crishim.operations.list_images import default_user, list_images
from crishim.operations.pull_image import pull_image
from crishim.operations.remove_image import remove_image
from crishim.pb import cri_pb2 as cri


async def ListImages(node: Node, request: cri.ListImagesRequest) -> cri.ListImagesResponse:
    found = await list_images(node, request.filter.image.image)
    return cri.ListImagesResponse(images=[encode(i) for i in found])


async def StreamImages(node: Node, request: cri.StreamImagesRequest) -> AsyncIterator[cri.StreamImagesResponse]:
    found = await list_images(node, request.filter.image.image)
    for batch in batches([encode(image) for image in found]):
        yield cri.StreamImagesResponse(images=batch)


async def ImageStatus(node: Node, request: cri.ImageStatusRequest) -> cri.ImageStatusResponse:
    if not request.image.image:
        raise CrishimError(Kind.INVALID, "ImageStatus needs an image")
    image = await node.images.find(request.image.image)
    if image is None:
        return cri.ImageStatusResponse()
    info = {"info": json.dumps(describe(image))} if request.verbose else {}
    return cri.ImageStatusResponse(image=encode(image), info=info)


async def PullImage(node: Node, request: cri.PullImageRequest) -> cri.PullImageResponse:
    auth = request.auth if request.HasField("auth") else None
    image = await pull_image(node, request.image.image, auth)
    return cri.PullImageResponse(image_ref=image.id)


async def RemoveImage(node: Node, request: cri.RemoveImageRequest) -> cri.RemoveImageResponse:
    await remove_image(node, request.image.image)
    return cri.RemoveImageResponse()


async def ImageFsInfo(node: Node, request: cri.ImageFsInfoRequest) -> cri.ImageFsInfoResponse:
    """container_filesystems stays empty: writable layers lie on the same file system as the images."""
    found = await node.image_usage.usage()
    usage = cri.FilesystemUsage(
        timestamp=found.taken_at,
        fs_id=cri.FilesystemIdentifier(mountpoint=found.mountpoint),
        used_bytes=cri.UInt64Value(value=found.usage.bytes),
        inodes_used=cri.UInt64Value(value=found.usage.inodes),
    )
    return cri.ImageFsInfoResponse(image_filesystems=[usage])


def encode(image: ImageRecord) -> cri.Image:
    """An image as CRI's Image: uid or username is set, never both."""
    uid, username = default_user(image)
    return cri.Image(
        id=image.id,
        repo_tags=image.repo_tags,
        repo_digests=image.repo_digests,
        size=image.size,
        uid=None if uid is None else cri.Int64Value(value=uid),
        username=username,
        spec=cri.ImageSpec(image=image.id),
        pinned=image.pinned,
    )


def describe(image: ImageRecord) -> dict[str, Any]:
    """The `info` of a verbose ImageStatus: the image configuration, and its layers in the store, topmost first."""
    try:
        spec = json.loads(image.config)
    except (ValueError, RecursionError):
        spec = None
    return {"imageSpec": spec, "layers": image.layers}
