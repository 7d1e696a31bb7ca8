"""Import images from a file, for nodes without a registry: crishim images import FILE."""

from pathlib import Path

from crishim.errors import CrishimError, Kind
from crishim.images.transport import Transport
from crishim.model import ImageRecord


async def import_image(path: str, name: str = "", *, transport: Transport) -> list[ImageRecord]:
    """Store the images of an OCI or docker archive, or of an OCI layout directory, under the names they carry.

    path: absolute, on the daemon's file systems. name: for an archive whose one image has none. Raises NOT_FOUND and
    INVALID, naming the file and what is wrong with it.
    """
    if not path.startswith("/"):
        raise CrishimError(Kind.INVALID, f"the path of an image archive must be absolute: {path!r}")
    return await transport.import_archive(Path(path), name)
