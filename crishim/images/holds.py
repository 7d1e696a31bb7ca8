"""Keeps images from being removed while a container is being created from them.

An image is in use by recorded containers, for which there is a function, and by holds: an operation has one from
looking up the image until its container's record is written. All of it runs on the event loop, so each check and the
mark that follows it are atomic.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator

from crishim.errors import CrishimError, Kind


class Holds:
    """Holds and removals of images, by Image.id."""

    def __init__(self, in_use: Callable[[], Collection[str]]) -> None:
        """in_use: returns the ids of the images of all recorded containers, image volumes included."""
        self._in_use = in_use
        self._held: Counter[str] = Counter()
        self._removing: Counter[str] = Counter()

    @contextlib.contextmanager
    def hold(self, image_id: str) -> Iterator[None]:
        """Keep an image from being removed. Raises NOT_FOUND if its removal has begun."""
        if self._removing[image_id]:
            raise CrishimError(Kind.NOT_FOUND, f"image {image_id} is being removed", image=image_id)
        with _counted(self._held, image_id):
            yield

    @contextlib.contextmanager
    def removing(self, image_id: str) -> Iterator[None]:
        """Keep new containers from using an image; may be nested. Raises PRECONDITION if a container uses it.

        An adopted container whose image is not known ("", operations/adopt.py) may use any.
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
