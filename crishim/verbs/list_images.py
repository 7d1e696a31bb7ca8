"""ListImages and ImageStatus: what is in the store. No lock, no file read unless the store changed."""

import msgspec

from crishim.images.store import ImageStore
from crishim.model import ImageRecord


class _RuntimeConfig(msgspec.Struct, frozen=True):
    user: str | None = msgspec.field(default=None, name="User")


class _Config(msgspec.Struct, frozen=True):
    config: _RuntimeConfig | None = None


_decoder = msgspec.json.Decoder(_Config)


async def list_images(name: str, *, store: ImageStore) -> list[ImageRecord]:
    """All images, or the one a filter names (by tag, digest or id), if it is there."""
    snapshot = await store.snapshot()
    if not name:
        return list(snapshot.images)
    image = snapshot.find(name)
    return [image] if image else []


def default_user(image: ImageRecord) -> tuple[int | None, str]:
    """The user an image asks for, as (uid, "") or (None, name): exactly one of them. Without a user it is uid 0.

    The group of "user:group" is left out. An unreadable configuration counts as one without a user: it fails where it
    is used (CreateContainer), not where it is listed.
    """
    try:
        config = _decoder.decode(image.config).config
    except msgspec.DecodeError:
        config = None
    user = ((config.user if config else None) or "").partition(":")[0]
    if not user:
        return 0, ""
    return (int(user), "") if user.isascii() and user.isdigit() and int(user) < 1 << 32 else (None, user)
