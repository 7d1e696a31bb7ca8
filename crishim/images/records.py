"""Decode the records of containers/storage into ImageRecord. Pure: bytes in, records out.

    ROOT/overlay-images/images.json     one object an image: id, names, top layer, names of its big data
    ROOT/overlay-layers/layers.json     one object a layer: id, parent, sizes
    ROOT/overlay-images/ID/=BASE64      big data: "sha256:CONFIG" is the image configuration, "manifest-sha256:..." each
                                        manifest or index the image was pulled by
    ROOT/overlay/LAYER/diff             the files of a layer, whiteouts in overlayfs's form

An image record is written before its big data (containers/image 5.22, Debian 12), so one without its configuration, or
with a layer missing, belongs to a pull or removal that is in progress or was killed: it is not an image yet.
"""

import base64
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import msgspec

from crishim.decoding import NOT_JSON
from crishim.errors import CrishimError
from crishim.images import reference
from crishim.model import ImageRecord

_PLAIN = re.compile(r"[A-Za-z0-9.\-_]+")
_LAYER = re.compile(r"[0-9a-f]{64}")
MANIFEST_PREFIX = "manifest-"
INDEX_TYPES = frozenset(
    {"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"}
)


class StoredImage(msgspec.Struct, frozen=True):
    """One object of images.json: the fields used here."""

    id: str
    layer: str = ""  # the topmost; empty for an image without layers
    mapped_layers: list[str] = msgspec.field(default=[], name="mapped-layers")  # the same for user namespaces
    names: list[str] = []
    names_history: list[str] = msgspec.field(default=[], name="names-history")
    big_data_names: list[str] = msgspec.field(default=[], name="big-data-names")
    big_data_sizes: dict[str, int] = msgspec.field(default={}, name="big-data-sizes")

    @property
    def config_key(self) -> str:
        """The name of its configuration among its big data: the configuration's digest; "" if it is not there."""
        own = "sha256:" + self.id
        if own in self.big_data_names:
            return own
        # The id may differ from the digest (partial pulls): then the configuration is the only sha256 key.
        return next((n for n in self.big_data_names if n.startswith("sha256:")), "")

    @property
    def manifest_digests(self) -> list[str]:
        return [n.removeprefix(MANIFEST_PREFIX) for n in self.big_data_names if n.startswith(MANIFEST_PREFIX)]


class StoredLayer(msgspec.Struct, frozen=True):
    """One object of layers.json."""

    id: str
    parent: str = ""
    diff_size: int = msgspec.field(default=0, name="diff-size")  # bytes of the uncompressed tar; -1 unknown
    flags: dict[str, object] = {}

    @property
    def incomplete(self) -> bool:
        return bool(self.flags.get("incomplete"))


class StoredContainer(msgspec.Struct, frozen=True):
    """One object of overlay-containers/containers.json: another program's, as crishim writes none."""

    id: str
    image: str = ""
    layer: str = ""  # its writable one


class _MediaType(msgspec.Struct, frozen=True):
    media_type: str = msgspec.field(default="", name="mediaType")
    manifests: list[msgspec.Raw] | None = None  # an OCI index need not carry its media type


_images = msgspec.json.Decoder(list[StoredImage])
_layers = msgspec.json.Decoder(list[StoredLayer])
_containers = msgspec.json.Decoder(list[StoredContainer])
_media_type = msgspec.json.Decoder(_MediaType)


def decode_images(text: bytes) -> list[StoredImage]:
    return _images.decode(text) if text.strip() else []


def decode_layers(text: bytes) -> list[StoredLayer]:
    return _layers.decode(text) if text.strip() else []


def decode_containers(text: bytes) -> list[StoredContainer]:
    return _containers.decode(text) if text.strip() else []


def is_layer_id(name: str) -> bool:
    """Whether a directory entry of ROOT/overlay is a layer (others are `l` and temporary ones of the driver)."""
    return _LAYER.fullmatch(name) is not None


def is_index(manifest: bytes) -> bool:
    """Whether a manifest is a multi-platform index; False if it cannot be parsed."""
    try:
        head = _media_type.decode(manifest)
    except NOT_JSON:
        return False
    return head.media_type in INDEX_TYPES or (not head.media_type and head.manifests is not None)


def big_data_file(key: str) -> str:
    """The file name of a big data item: its key, or "=" and base64 if it has other characters."""
    return key if _PLAIN.fullmatch(key) else "=" + base64.b64encode(key.encode()).decode()


def layer_chain(top: str, layers: dict[str, StoredLayer]) -> tuple[str, ...] | None:
    """Layer ids from the topmost down; None if one is missing or incomplete."""
    chain: list[str] = []
    while top:
        layer = layers.get(top)
        if layer is None or layer.incomplete or top in chain:
            return None
        chain.append(top)
        top = layer.parent
    return tuple(chain)


def repository(name: str) -> str:
    """The repository of a stored name; "" if it is no reference."""
    try:
        return reference.parse(name).repository
    except CrishimError:
        return ""


def repo_digests(image: StoredImage, pulled_by: Sequence[str]) -> tuple[str, ...]:
    """The digest references of an image.

    pulled_by: the digests its tags resolved to: the indexes if it has any, else its manifests. The store does not
    record which tag had which digest, so each repository gets all. A name that is a digest reference is kept as it is.
    An image whose last name was moved by a newer pull keeps the digests of its former repositories, as in other
    runtimes.
    """
    exact = [n for n in image.names if "@" in n]
    tagged = [n for n in (image.names or image.names_history) if "@" not in n]
    if not image.names:
        exact = [n for n in image.names_history if "@" in n]
    repositories = dict.fromkeys(filter(None, map(repository, tagged)))
    return tuple(dict.fromkeys(exact + [f"{r}@{d}" for r in repositories for d in pulled_by]))


def image_record(
    image: StoredImage,
    chain: Iterable[str],
    layers: dict[str, StoredLayer],
    config: bytes,
    pulled_by: Sequence[str],
    pinned: Iterable[str],
) -> ImageRecord:
    """A stored image as ImageRecord. pinned: shell patterns of names."""
    ids = tuple(chain)
    tags = tuple(n for n in image.names if "@" not in n)
    size = sum(max(layers[i].diff_size, 0) for i in ids) + sum(max(s, 0) for s in image.big_data_sizes.values())
    return ImageRecord(
        id=image.config_key,
        repo_tags=tags,
        repo_digests=repo_digests(image, pulled_by),
        size=max(size, 1),  # the kubelet rejects 0
        config=config,
        layers=ids,
        pinned=any(fnmatchcase(name, pattern) for pattern in pinned for name in image.names),
    )
