"""The RPCs of the ImageService."""

import json
from collections.abc import AsyncIterator
from typing import Any

from crishim.cri.batches import batches
from crishim.cri.server import Functions
from crishim.errors import CrishimError, Kind
from crishim.images.store import ImageStore
from crishim.images.transport import Transport
from crishim.images.usage import StoreMeter
from crishim.images.uses import Uses
from crishim.model import ImageRecord
from crishim.pb import cri_pb2 as cri
from crishim.verbs.list_images import default_user, list_images
from crishim.verbs.pull_image import pull_image
from crishim.verbs.remove_image import remove_image


def functions(*, store: ImageStore, transport: Transport, uses: Uses, meter: StoreMeter) -> Functions:
    """container_filesystems of ImageFsInfo stays empty: writable layers lie on the same file system as the images."""

    async def list_(request: cri.ListImagesRequest) -> cri.ListImagesResponse:
        found = await list_images(request.filter.image.image, store=store)
        return cri.ListImagesResponse(images=[encode(i) for i in found])

    async def stream(request: cri.StreamImagesRequest) -> AsyncIterator[cri.StreamImagesResponse]:
        found = await list_images(request.filter.image.image, store=store)
        for batch in batches([encode(image) for image in found]):
            yield cri.StreamImagesResponse(images=batch)

    async def status(request: cri.ImageStatusRequest) -> cri.ImageStatusResponse:
        if not request.image.image:
            raise CrishimError(Kind.INVALID, "ImageStatus needs an image")
        image = await store.find(request.image.image)
        if image is None:
            return cri.ImageStatusResponse()
        info = {"info": json.dumps(describe(image))} if request.verbose else {}
        return cri.ImageStatusResponse(image=encode(image), info=info)

    async def pull(request: cri.PullImageRequest) -> cri.PullImageResponse:
        auth = request.auth if request.HasField("auth") else None
        image = await pull_image(request.image.image, auth, transport=transport)
        return cri.PullImageResponse(image_ref=image.id)

    async def remove(request: cri.RemoveImageRequest) -> cri.RemoveImageResponse:
        await remove_image(request.image.image, store=store, transport=transport, uses=uses)
        return cri.RemoveImageResponse()

    async def fs_info(request: cri.ImageFsInfoRequest) -> cri.ImageFsInfoResponse:
        found = await meter.usage()
        usage = cri.FilesystemUsage(
            timestamp=found.taken_at,
            fs_id=cri.FilesystemIdentifier(mountpoint=found.mountpoint),
            used_bytes=cri.UInt64Value(value=found.usage.bytes),
            inodes_used=cri.UInt64Value(value=found.usage.inodes),
        )
        return cri.ImageFsInfoResponse(image_filesystems=[usage])

    return {
        "ListImages": list_,
        "StreamImages": stream,
        "ImageStatus": status,
        "PullImage": pull,
        "RemoveImage": remove,
        "ImageFsInfo": fs_info,
    }


def encode(image: ImageRecord) -> cri.Image:
    """An image as the CRI shows it; uid and username exclude each other."""
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
    """What a verbose ImageStatus adds: the image's own configuration, and its layers in the store, topmost first."""
    try:
        spec = json.loads(image.config)
    except (ValueError, RecursionError):
        spec = None
    return {"imageSpec": spec, "layers": image.layers}
