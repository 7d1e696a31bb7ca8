"""RemoveImage: remove an image with all its names and the layers no other image uses.

An image that a container uses is refused (as by CRI-O; containerd drops the names and keeps the content until the
container is removed). The kubelet never requests that: its garbage collection skips images of existing containers,
running or not. For a person, an error with the reason is better than an image that is not listed and still fills the
disk.
"""

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState
from crishim.node import Node
from crishim.operations import remove_container


async def remove_image(node: Node, name: str) -> None:
    """Remove the image of a tag, digest or id, with all its tags; does nothing if there is none.

    Raises PRECONDITION if a container uses it, as its root file system or as a volume, INVALID for an ambiguous id
    prefix. Concurrent calls all return once it is removed.
    """
    if not name:
        raise CrishimError(Kind.INVALID, "RemoveImage needs an image")
    image = await node.images.find(name)
    if image is None:
        return
    for container in node.containers:  # one in REMOVING may still have it mounted
        used = {container.image_id, *(mount.image_id for mount in container.mounts)}
        if container.state is ContainerState.REMOVING and image.id in used:
            await remove_container.delete_resources(node, container.id)
    with node.image_holds.removing(image.id):
        await node.transport.remove(image)
