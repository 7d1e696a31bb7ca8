"""RemoveImage: an image goes with all its names and the layers nobody else needs.

An image that a container has is refused (as CRI-O does; containerd drops the names and keeps the content until the
container goes). The kubelet never asks for that: its garbage collection skips images of containers on record, whether
they run or not. For a person, an error that says why is worth more than an image that vanishes from the list and still
fills the disk.
"""

from crishim.errors import CrishimError, Kind
from crishim.node import Node


async def remove_image(node: Node, name: str) -> None:
    """Remove the image that a tag, digest or id means, with all its tags; nothing happens if there is none.

    PRECONDITION if a container has it, as its root file system or as a volume. Parallel calls all return once it is
    gone. INVALID for an ambiguous id prefix.
    """
    if not name:
        raise CrishimError(Kind.INVALID, "RemoveImage needs an image")
    image = await node.images.find(name)
    if image is None:
        return
    with node.image_holds.removing(image.id):
        await node.transport.remove(image)
