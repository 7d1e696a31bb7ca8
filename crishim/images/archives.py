"""Read an image archive's index: its images, their names, and the skopeo reference of each.

    OCI archive or layout   index.json; a manifest's name is in its annotations (image-spec 1.1, annotations.md, or
                            containerd's io.containerd.image.name, a full name where the other may be only a tag)
    docker archive          manifest.json, a list of images with RepoTags

Reads headers only; skopeo unpacks and verifies the content. Blocks: a tar file has to be read to its end.
"""

import json
import lzma
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from crishim.errors import CrishimError, Kind
from crishim.images import reference
from crishim.linux import paths

if TYPE_CHECKING:
    import tarfile  # takes 0.4 MB: imported only when an archive is read

MAX_INDEX = 4 << 20  # bytes of an index.json or manifest.json; real ones are far smaller
MAX_DICTIONARY = 128 << 20  # bytes that unpacking xz may need: `xz -9` takes 65 MiB, the format allows 4 GiB
_XZ = b"\xfd7zXZ\0"
REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"


@dataclass(frozen=True)
class ArchivedImage:
    """One name of one image in an archive: how skopeo selects it, and the name to store it under."""

    transport: str  # of skopeo, containers-transports(5)
    selector: str  # which of the archive's images: "" the only one, a tag, a name, or @NUMBER
    name: str

    def source(self, path: Path) -> str:
        """skopeo's reference, for the archive at this path, which must not contain a colon."""
        return f"{self.transport}:{path}" + (f":{self.selector}" if self.selector else "")


def members(path: Path, given_name: str = "") -> list[ArchivedImage]:
    """The images of a file or layout directory. given_name: for an archive whose one image has no name of its own.

    Raises NOT_FOUND if there is no such file, INVALID if it is no archive or has a name that is no reference.
    """
    if not path.exists():
        raise CrishimError(Kind.NOT_FOUND, f"there is no image archive {path}", path=path)
    if path.is_dir():
        try:
            index = paths.read_in_root(path, "index.json", MAX_INDEX)
        except OSError as error:
            text = f"{path} is no OCI image layout: its index.json cannot be read: {error.strerror}"
            raise CrishimError(Kind.INVALID, text, path=path) from error
        return _oci("oci", path, _json(index, path), given_name)
    if not path.is_file():  # reading a FIFO without a writer would block for ever
        raise CrishimError(Kind.INVALID, f"{path} is no image archive: it is no regular file", path=path)
    found = _tar_headers(path)
    if "index.json" in found:
        return _oci("oci-archive", path, _json(found["index.json"], path), given_name)
    return _docker(path, _json(found["manifest.json"], path), given_name)


class _Unxz:
    """Reads an xz file in order, with limited memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_DICTIONARY)

    def read(self, size: int) -> bytes:
        read = b""
        while len(read) < size and not self._decompressor.eof:
            packed = self._file.read(1 << 16) if self._decompressor.needs_input else b""
            if not packed and self._decompressor.needs_input:
                raise EOFError("the xz file is not complete")
            read += self._decompressor.decompress(packed, size - len(read))
        return read


def _opened(file: IO[bytes]) -> "tarfile.TarFile":
    """Open a tar file, uncompressed or compressed in a format that skopeo supports, too, by its first bytes."""
    import tarfile

    from crishim.linux.tar_entries import BoundedEntry

    start = file.read(len(_XZ))
    file.seek(0)
    if start == _XZ:
        return tarfile.open(fileobj=cast(IO[bytes], _Unxz(file)), mode="r|", tarinfo=BoundedEntry)
    if start.startswith(b"\x1f\x8b"):
        return tarfile.open(fileobj=file, mode="r:gz", tarinfo=BoundedEntry)
    if start.startswith(b"BZ"):
        return tarfile.open(fileobj=file, mode="r:bz2", tarinfo=BoundedEntry)
    return tarfile.open(fileobj=file, mode="r:", tarinfo=BoundedEntry)


def _tar_headers(path: Path) -> dict[str, bytes]:
    """index.json or manifest.json of a tar file. A current docker archive has both, and is an OCI layout as well."""
    import tarfile

    found: dict[str, bytes] = {}
    try:
        with path.open("rb") as file, _opened(file) as archive:
            for entry in archive:
                name = entry.name.removeprefix("./")
                if name in ("index.json", "manifest.json") and entry.isreg() and entry.size <= MAX_INDEX:
                    content = archive.extractfile(entry)
                    found[name] = content.read() if content else b""
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise CrishimError(Kind.INVALID, f"{path} is no image archive: {error}", path=path) from error
    if "manifest.json" in found and _names_nothing(found.get("index.json")):
        return {"manifest.json": found["manifest.json"]}
    if not found:
        raise CrishimError(
            Kind.INVALID, f"{path} is no image archive: it has neither index.json nor manifest.json", path=path
        )
    return found


def _names_nothing(index: bytes | None) -> bool:
    """Whether an index.json has no full name: then manifest.json is used instead."""
    try:
        manifests = json.loads(index or b"{}").get("manifests", [])
        return not any("/" in _annotated_name(m) for m in manifests)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return True


def _annotated_name(manifest: dict[str, Any]) -> str:
    annotations = manifest.get("annotations") or {}
    return str(annotations.get(CONTAINERD_NAME) or annotations.get(REF_NAME) or "")


def _oci(transport: str, path: Path, index: Any, given_name: str) -> list[ArchivedImage]:
    try:
        manifests = list(index["manifests"])
        names = [_annotated_name(m) for m in manifests]
        selectors = [str((m.get("annotations") or {}).get(REF_NAME) or "") for m in manifests]
    except (KeyError, TypeError, AttributeError):
        raise CrishimError(Kind.INVALID, f"{path}: index.json is no OCI image index", path=path) from None
    if len(manifests) == 1:
        selectors = [""]  # the only image needs no selector, whatever its name
    found = zip(names, selectors, strict=True)
    members = [ArchivedImage(transport, s, n) for n, s in found if s or len(manifests) == 1]
    return _named(path, members, given_name)


def _docker(path: Path, images: Any, given_name: str) -> list[ArchivedImage]:
    members = []
    try:
        for number, image in enumerate(images):
            tags = image.get("RepoTags") or []
            members += [ArchivedImage("docker-archive", str(tag), str(tag)) for tag in tags]
            members += [] if tags else [ArchivedImage("docker-archive", f"@{number}", "")]
    except (TypeError, AttributeError):
        raise CrishimError(Kind.INVALID, f"{path}: manifest.json is no list of images", path=path) from None
    return _named(path, members, given_name)


def _named(path: Path, members: list[ArchivedImage], given_name: str) -> list[ArchivedImage]:
    if given_name and len(members) == 1:
        members = [replace(members[0], name=given_name)]
    if not members:
        raise CrishimError(Kind.INVALID, f"{path} holds no image that can be told from the others by name", path=path)
    if not all(m.name for m in members):
        raise CrishimError(Kind.INVALID, f"{path} holds an image without a name: give it one", path=path)
    return [replace(m, name=reference.parse(m.name).name) for m in members]


def _json(text: bytes, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise CrishimError(Kind.INVALID, f"{path}: its index is no JSON", path=path) from None
