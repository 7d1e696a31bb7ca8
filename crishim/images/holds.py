"""Who needs an image right now, so that none is removed under a container that is being made from it.

Containers on record are one half: a function tells their images. The other half are holds: from the moment an operation
has looked an image up until the record of its container is written. All of it happens on the event loop, so each check
and the mark that follows it are one step.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator

from crishim.errors import CrishimError, Kind


class Holds:
    """Holds and removals of images, by Image.id."""

    def __init__(self, in_use: Callable[[], Collection[str]]) -> None:
        """in_use: ids of the images of all containers on record, image volumes included."""
        self._in_use = in_use
        self._held: Counter[str] = Counter()
        self._removing: Counter[str] = Counter()

    @contextlib.contextmanager
    def hold(self, image_id: str) -> Iterator[None]:
        """Keep an image from being removed; NOT_FOUND if its removal has begun."""
        if self._removing[image_id]:
            raise CrishimError(Kind.NOT_FOUND, f"image {image_id} is being removed", image=image_id)
        with _counted(self._held, image_id):
            yield

    @contextlib.contextmanager
    def removing(self, image_id: str) -> Iterator[None]:
        """Keep new containers from an image; PRECONDITION if one has it. Parallel removals of one image are fine.

        A container of which nobody knows the image ("", operations/adopt.py) may have any.
        """
        in_use = self._in_use()
        if self._held[image_id] or image_id in in_use or "" in in_use:
            raise CrishimError(
                Kind.PRECONDITION,
                f"image {image_id} is in use by a container: remove its containers first",
                image=image_id,
            )
        with _counted(self._removing, image_id):
            yield


@contextlib.contextmanager
def _counted(counter: Counter[str], key: str) -> Iterator[None]:
    counter[key] += 1
    try:
        yield
    finally:
        counter[key] -= 1
        if not counter[key]:
            del counter[key]
