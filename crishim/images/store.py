"""Read the image store, for List, Status and CreateContainer: cached until the files change.

containers/storage writes its records to a new file and renames it, so a file is always complete, and has changed if its
inode, size or time differ. images.json is read before layers.json: layers are recorded before their image and removed
after it, so an image whose layers are missing is being removed, and is left out.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from crishim.decoding import NOT_JSON
from crishim.errors import CrishimError, Kind
from crishim.images import records, reference
from crishim.images.records import StoredImage, StoredLayer
from crishim.linux import executors
from crishim.model import ImageRecord

MIN_PREFIX = 3  # hex digits: fewer are more likely a name than an id
HEX = frozenset("0123456789abcdef")

Identity = tuple[int, int, int] | None


class Snapshot(msgspec.Struct, frozen=True):
    """The images at one moment. Lookups are dictionary accesses; records are shared between snapshots."""

    images: tuple[ImageRecord, ...] = ()
    stored_ids: Mapping[str, str] = {}  # Image.id -> the store's own id
    by_name: Mapping[str, ImageRecord] = {}
    by_id: Mapping[str, ImageRecord] = {}  # hex digest without "sha256:"
    manifests: Mapping[str, frozenset[str]] = {}  # name in the store -> digests of its image's manifests and indexes

    def find(self, text: str) -> ImageRecord | None:
        """The image with a tag, digest reference, id or id prefix; None if there is none, also for an invalid
        reference.

        Names have precedence over ids, as in other runtimes: an image named "beef" hides one whose id starts so. Raises
        INVALID for a prefix of two images.
        """
        if text.startswith("sha256:"):
            return self._by_prefix(text.removeprefix("sha256:"))
        try:
            named = self.by_name.get(reference.parse(text).name)
        except CrishimError:
            named = None
        return named or self._by_prefix(text)

    def _by_prefix(self, digits: str) -> ImageRecord | None:
        exact = self.by_id.get(digits)
        if exact or not MIN_PREFIX <= len(digits) < 64 or not HEX.issuperset(digits):
            return exact
        found = [image for id, image in self.by_id.items() if id.startswith(digits)]
        if len(found) > 1:
            raise CrishimError(Kind.INVALID, f"image id {digits!r} is ambiguous: {len(found)} images", image=digits)
        return found[0] if found else None


class ImageStore:
    """Reads the records below a containers/storage root (see records.py). Writes nothing."""

    def __init__(self, root: Path, *, pinned: Sequence[str] = ()) -> None:
        """root: the store's graph root. pinned: shell patterns of names (registry.k8s.io/pause:*)."""
        self.root = root
        self._pinned = tuple(pinned)
        self._files = (root / "overlay-images/images.json", root / "overlay-layers/layers.json")
        self._seen: tuple[object, ...] = ()  # _identities() of the snapshot
        self._snapshot = Snapshot()
        self._reading = asyncio.Lock()
        self._contents: dict[str, tuple[bytes, tuple[str, ...]]] = {}  # store id -> configuration, digests

    def pin(self, patterns: Sequence[str]) -> None:
        """Replace the patterns of pinned names."""
        self._pinned = tuple(patterns)

    async def snapshot(self) -> Snapshot:
        """The images now: two stat(2) calls in a thread, and a read only if a file changed.

        Raises INTERNAL if the records cannot be read.
        """
        if await executors.records(self._identities) != self._seen:
            async with self._reading:
                await executors.records(self._renew)
        return self._snapshot

    async def find(self, text: str) -> ImageRecord | None:
        """snapshot().find()."""
        return (await self.snapshot()).find(text)

    def _identities(self) -> tuple[object, ...]:
        return (self._pinned, *(_identity(path) for path in self._files))

    def _renew(self) -> None:
        seen = self._identities()
        if seen != self._seen:
            self._snapshot = self._read()
            self._seen = seen

    def _read(self) -> Snapshot:
        try:
            images = records.decode_images(_bytes(self._files[0]))
            layers = {layer.id: layer for layer in records.decode_layers(_bytes(self._files[1]))}
        except (OSError, *NOT_JSON) as error:
            raise CrishimError(
                Kind.INTERNAL, f"the image store's records below {self.root} cannot be read: {error}", path=self.root
            ) from error
        found: dict[str, ImageRecord] = {}
        stored: dict[str, str] = {}
        manifests: dict[str, frozenset[str]] = {}
        for image in images:
            record = self._record(image, layers)
            if record is not None and record.id not in found:
                found[record.id] = record
                stored[record.id] = image.id
                manifests |= dict.fromkeys(image.names, frozenset(image.manifest_digests))
        self._contents = {i.id: self._contents[i.id] for i in images if i.id in self._contents}
        return _index(found.values(), stored, manifests)

    def _record(self, image: StoredImage, layers: dict[str, StoredLayer]) -> ImageRecord | None:
        chain = records.layer_chain(image.layer, layers)
        if chain is None or not image.config_key:
            return None
        try:
            config, digests = self._content(image)
        except OSError:
            return None  # removed since images.json was read, or its big data was never written
        return records.image_record(image, chain, layers, config, digests, self._pinned)

    def _content(self, image: StoredImage) -> tuple[bytes, tuple[str, ...]]:
        """Configuration and the digests its tags resolve to; read again when the image has another manifest."""
        cached = self._contents.get(image.id)
        digests = image.manifest_digests
        if cached and len(digests) == len(cached[1]) == 1 and digests[0] == cached[1][0]:
            return cached
        directory = self.root / "overlay-images" / image.id
        config = (directory / records.big_data_file(image.config_key)).read_bytes()
        if len(digests) > 1:
            keys = [records.MANIFEST_PREFIX + d for d in digests]
            manifests = [(directory / records.big_data_file(key)).read_bytes() for key in keys]
            digests = [d for d, m in zip(digests, manifests, strict=True) if records.is_index(m)] or digests
        self._contents[image.id] = content = (config, tuple(digests))
        return content


def _identity(path: Path) -> Identity:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _index(images: Iterable[ImageRecord], stored: dict[str, str], manifests: dict[str, frozenset[str]]) -> Snapshot:
    ordered = tuple(images)
    names = {name: image for image in ordered for name in image.repo_digests}
    names |= {name: image for image in ordered for name in image.repo_tags}
    return Snapshot(ordered, stored, names, {i.id.removeprefix("sha256:"): i for i in ordered}, manifests)
