"""RemoveImage: an image goes with all its names and the layers nobody else needs.

An image that a container has is refused (as CRI-O does; containerd drops the names and keeps the content until the
container goes). The kubelet never asks for that: its garbage collection skips images of containers on record, whether
they run or not. For a person, an error that says why is worth more than an image that vanishes from the list and still
fills the disk.
"""

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState
from crishim.node import Node
from crishim.operations import remove_container


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
    for container in node.containers:  # one whose RemoveContainer was answered may still have it mounted
        used = {container.image_id, *(mount.image_id for mount in container.mounts)}
        if container.state is ContainerState.REMOVING and image.id in used:
            await remove_container.take_away(node, container.id)
    with node.image_holds.removing(image.id):
        await node.transport.remove(image)
