"""Open, check and unpack an archive that CheckpointContainer wrote.

criu's images hold the memory, credentials and capabilities of processes: whoever writes one decides what runs here and
as which user. So only files that root alone can write are used: open_trusted(). Their format is not trusted
nevertheless. Only the entries named here are unpacked, as regular files. The writable layer in it must have no name
that leads out of it or below a link, and no device; then tar(1) unpacks it into an empty directory. All functions
block.
"""

import contextlib
import os
import posixpath
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import msgspec

from crishim.decoding import NOT_JSON
from crishim.errors import CrishimError, Kind
from crishim.linux import directories, files, paths

if TYPE_CHECKING:
    import tarfile  # takes 0.4 MB: imported when an archive is opened

IMAGES = "checkpoint"  # the directory of criu's images, in an archive and unpacked
LAYER = "rootfs-diff.tar"
MAX_DESCRIPTION = 8 << 20  # bytes of config.dump and spec.dump
MAX_ENTRIES = 1 << 20  # entries of an archive, links of a layer; a process has half a dozen entries
_CHUNK = 1 << 20
_IMAGE = re.compile(rf"{IMAGES}/[A-Za-z0-9][A-Za-z0-9._-]*")


class CheckpointConfig(msgspec.Struct, frozen=True, rename="camel"):
    """config.dump: what was checkpointed."""

    id: str
    name: str
    rootfs_image: str  # as the request named it
    rootfs_image_ref: str  # Image.id
    runtime: str  # the handler
    net_devices: dict[str, str] = {}  # of its pod: host name by name in the pod


class ArchiveFile(NamedTuple):
    """A regular file in an archive."""

    name: str
    size: int
    start: int  # offset of its data in the archive
    extents: tuple[tuple[int, int], ...]  # (offset in the file, length) of the data, one after the other


class Archive(NamedTuple):
    path: str
    file: IO[bytes]
    about: CheckpointConfig
    spec: dict[str, Any]  # config.json of the container
    parts: tuple[ArchiveFile, ...]  # criu's images, and the layer


@contextlib.contextmanager
def opened(top: Path, path: str) -> Iterator[Archive]:
    """An archive below the directory top, open during the context. Raises as open_trusted() and read()."""
    fd = open_trusted(top, path)
    with os.fdopen(fd, "rb") as file:
        yield read(path, file)


def open_trusted(top: Path, path: str) -> int:
    """A descriptor to read the regular file at an absolute path below the directory top.

    Follows no symbolic link. Raises DENIED unless root owns the file and each directory from top on, and only root may
    write to them; NOT_FOUND, INVALID.
    """
    try:
        inside = Path(path).relative_to(top)
    except ValueError:
        raise CrishimError(Kind.DENIED, f"checkpoint {path!r} does not lie below {top}", path=path) from None
    paths.check_length(path)
    if ".." in inside.parts or "\0" in path or not inside.parts:
        raise CrishimError(Kind.INVALID, f"checkpoint {path!r} is not the path of a file below {top}", path=path)
    try:
        for depth in range(len(inside.parts) + 1):
            name = str(Path(*inside.parts[:depth]))
            found = paths.open_beneath(top, name, os.O_PATH)
            try:
                _check_owner(found, str(top / name))
                if depth == len(inside.parts):
                    return files.reopen_regular(found, path)
            finally:
                os.close(found)
    except FileNotFoundError as error:
        raise CrishimError(Kind.NOT_FOUND, f"there is no checkpoint {path}", path=path) from error
    except OSError as error:
        text = f"checkpoint {path} cannot be opened, links are not followed: {error.strerror}"
        raise CrishimError(Kind.INVALID, text, path=path) from error
    raise AssertionError("unreachable")


def _check_owner(fd: int, path: str) -> None:
    status = os.fstat(fd)
    if status.st_uid != 0 or stat.S_IMODE(status.st_mode) & 0o022:
        raise CrishimError(
            Kind.DENIED, f"{path} is not root's alone to write: no checkpoint is taken from there", path=path
        )


def read(path: str, file: IO[bytes]) -> Archive:
    """Read the entries of an uncompressed archive. Raises INVALID, with what is wrong."""
    with _explained(path):
        parts = {part.name: part for part in _parts(path, file)}
    if "deleted.files" in parts:
        raise _invalid(path, "another runtime made it: of deleted files it has a list, which is not carried out")
    missing = [n for n in ("config.dump", "spec.dump", LAYER, f"{IMAGES}/inventory.img") if n not in parts]
    if missing:
        raise _invalid(path, f"it has no {missing[0]}")
    kept = tuple(part for name, part in parts.items() if name == LAYER or _IMAGE.fullmatch(name))
    about = _decoded(path, file, parts["config.dump"], CheckpointConfig)
    spec = _decoded(path, file, parts["spec.dump"], dict[str, Any])
    return Archive(path, file, about, spec, kept)


def _parts(path: str, file: IO[bytes]) -> Iterator[ArchiveFile]:
    length = os.fstat(file.fileno()).st_size
    for count, entry in enumerate(_entries(file)):
        name = posixpath.normpath(entry.name)
        if count >= MAX_ENTRIES:
            raise _invalid(path, f"it has more than {MAX_ENTRIES} entries")
        if entry.isdir():
            continue
        if not entry.isreg() or (name.startswith(f"{IMAGES}/") and not _IMAGE.fullmatch(name)):
            raise _invalid(path, f"its entry {entry.name[:200]!r} is no regular file, or has no name of criu's")
        sparse: Any = entry.sparse  # a list of (offset, length)
        extents = ((0, entry.size),) if sparse is None else tuple(sparse)
        stored = sum(size for _, size in extents)
        if entry.offset_data + stored > length or any(o < 0 or s < 0 or o + s > entry.size for o, s in extents):
            raise _invalid(path, f"its entry {entry.name[:200]!r} is not complete")
        yield ArchiveFile(name, entry.size, entry.offset_data, extents)


def _entries(file: IO[bytes]) -> "Iterator[tarfile.TarInfo]":
    import tarfile

    from crishim.linux.tar_entries import BoundedEntry

    with tarfile.open(fileobj=file, mode="r:", tarinfo=BoundedEntry) as tar:
        for entry in tar:
            yield entry
            tar.members = []  # type: ignore[attr-defined]  # else tarfile keeps all entries


def _decoded(path: str, file: IO[bytes], part: ArchiveFile, kind: type[Any]) -> Any:
    if part.size > MAX_DESCRIPTION or part.extents != ((0, part.size),):
        raise _invalid(path, f"its {part.name} has {part.size} bytes")
    try:
        return msgspec.json.decode(os.pread(file.fileno(), part.size, part.start), type=kind)
    except NOT_JSON as error:
        raise _invalid(path, f"its {part.name} is not what CheckpointContainer writes: {error}") from error


def unpack(archive: Archive, directory: Path, stopped: threading.Event) -> Path:
    """Write criu's images and the checked layer below a directory; returns the layer's path.

    Sparse files stay sparse. stopped: set by the caller to stop it; then ABORTED is raised.
    """
    directories.make_new(directory / IMAGES)
    with _explained(archive.path):
        for part in archive.parts:
            _write(archive.file.fileno(), part, directory / part.name, stopped)
        layer = directory / LAYER
        _check_layer(archive.path, layer, stopped)
    return layer


def _write(source: int, part: ArchiveFile, target: Path, stopped: threading.Event) -> None:
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, part.size)
        at = part.start
        for offset, length in part.extents:
            end = offset + length
            while offset < end:
                _check(stopped)
                data = os.pread(source, min(_CHUNK, end - offset), at)
                if not data:
                    raise EOFError("it has become shorter")
                written = os.pwrite(fd, data, offset)
                offset, at = offset + written, at + written
    finally:
        os.close(fd)


def _check(stopped: threading.Event) -> None:
    if stopped.is_set():
        raise CrishimError(Kind.ABORTED, "nobody waits for it any more")


def _check_layer(path: str, layer: Path, stopped: threading.Event) -> None:
    links: set[str] = set()
    with layer.open("rb") as file:
        for entry in _entries(file):
            _check(stopped)
            fault = _fault(entry, links)
            if fault:
                raise _invalid(path, f"its {LAYER} has {entry.name[:200]!r}, {fault}")


def _fault(entry: "tarfile.TarInfo", links: set[str]) -> str:
    """What is wrong with a layer's entry; "" if nothing. links: the links so far; the entry is added if it is one."""
    for named in (entry.name, entry.linkname) if entry.islnk() else (entry.name,):
        if named.startswith("/") or ".." in named.split("/"):
            return "which leads out of it"
        steps = posixpath.normpath(named).split("/")
        if any("/".join(steps[:n]) in links for n in range(1, len(steps))):
            return "which lies below a link"
    name = posixpath.normpath(entry.name)
    if entry.issym() or (entry.islnk() and posixpath.normpath(entry.linkname) in links):
        links.add(name)
    elif name in links:
        return "which is a link as well"
    if len(links) > MAX_ENTRIES:
        return f"one of more than {MAX_ENTRIES} links"
    whiteout = entry.ischr() and (entry.devmajor, entry.devminor) == (0, 0)  # overlayfs: a deleted file
    if not (entry.isreg() or entry.isdir() or entry.issym() or entry.islnk() or entry.isfifo() or whiteout):
        return "a device, or of a type that no container's file has"
    return ""


def _invalid(path: str, why: str) -> CrishimError:
    return CrishimError(Kind.INVALID, f"{path} is no checkpoint that can be restored: {why}", path=path)


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    import tarfile

    try:
        yield
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise _invalid(path, str(error)) from error
    except OSError as error:
        kind = Kind.EXHAUSTED if error.errno in files.FULL else Kind.INVALID
        raise CrishimError(kind, f"{path} cannot be unpacked: {error.strerror}", path=path) from error
