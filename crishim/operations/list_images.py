"""ListImages and ImageStatus: the images in the store. Takes no lock; reads files only if the store changed."""

from crishim.images import image_config
from crishim.model import ImageRecord
from crishim.node import Node

_DIGITS = 10  # of the largest uid


async def list_images(node: Node, name: str) -> list[ImageRecord]:
    """All images, or the one a filter names (by tag, digest or id), if it is there."""
    snapshot = await node.images.snapshot()
    if not name:
        return list(snapshot.images)
    image = snapshot.find(name)
    return [image] if image else []


def default_user(image: ImageRecord) -> tuple[int | None, str]:
    """The user of an image, as (uid, "") or (None, name); uid 0 if it has none.

    The group of "user:group" is left out. An unreadable configuration counts as one without a user: it is an error in
    CreateContainer, not in ListImages.
    """
    user = image_config.user(image.config)
    if not user:
        return 0, ""
    is_uid = user.isascii() and user.isdigit() and len(user) <= _DIGITS and int(user) < 1 << 32
    return (int(user), "") if is_uid else (None, user)
