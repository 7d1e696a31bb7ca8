"""Remove images, and what a killed or failed copy left in the store.

`skopeo delete` removes images, too, but costs 20 ms for a process: here it is two records and some directories.

What containers/storage does by itself: a layer has the flag `incomplete` until it is written, and the next process that
opens the store for writing removes incomplete ones. What it leaves: complete layers whose image was never recorded,
image records without their configuration, directories of layers without a record. Those are removed here, under the
store's own lock (fcntl on layers.lock, containers/storage pkg/lockfile), while no copy of ours runs.

A complete layer without an image is useful for a while: the retry of a failed pull uses it instead of fetching it
again. So orphans are removed at the start and when an image is removed, not after each failure.
"""

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from crishim.errors import CrishimError, Kind
from crishim.images import records
from crishim.images.records import StoredContainer, StoredImage, StoredLayer
from crishim.linux import files

LOCK_TIMEOUT = 120.0  # seconds: containers/storage holds it while it unpacks a layer
LOCK_PAUSE = 0.005


def incomplete_images(root: Path) -> list[str]:
    """Store ids of image records without their configuration or a layer: to be deleted by skopeo."""
    images = records.decode_images(_read(root / "overlay-images/images.json"))
    layers = _by_id(_read(root / "overlay-layers/layers.json"))
    return [i.id for i in images if not _has_config(root, i) or records.layer_chain(i.layer, layers) is None]


def remove_orphans(root: Path) -> list[str]:
    """Remove layers that no record uses, and directories of layers without a record; returns their ids. Blocks."""
    if not (root / "overlay").is_dir():
        return []
    with _locked(root / "overlay-layers/layers.lock") as touch:
        return _sweep(root, touch)


def remove_image(root: Path, stored_id: str) -> list[str]:
    """Remove an image with all its names, and its layers that no record uses then; returns their ids. Blocks.

    Does nothing if it does not exist. Other layers stay: in a shared store they may belong to another program's pull,
    whose image has no record yet. No copy of ours may run: it may be about to use one of these layers. Raises
    PRECONDITION if a container of another program uses the image. Locks in containers/storage's order.
    """
    with _locked(root / "overlay-layers/layers.lock") as touch_layers:
        with _locked(root / "overlay-images/images.lock") as touch:
            for container in _containers(root):
                if container.image == stored_id:
                    raise CrishimError(
                        Kind.PRECONDITION,
                        f"image {stored_id[:12]} is in use by container {container.id[:12]} of another program",
                        image=stored_id,
                    )
            path = root / "overlay-images/images.json"
            raw: list[dict[str, Any]] = json.loads(_read(path) or b"[]")
            kept = [image for image in raw if image.get("id") != stored_id]
            removed = records.decode_images(json.dumps([image for image in raw if image not in kept]).encode())
            its_layers = _below(removed, _layers(root))
            if len(kept) < len(raw):
                _write(path, kept)
                touch()
        return _sweep(root, touch_layers, its_layers)


def _sweep(root: Path, touch: Callable[[], object], among: set[str] | None = None) -> list[str]:
    """As remove_orphans(), with the lock held; also the data of images without a record. among: layers that may be
    removed.

    Records are removed before files: a crash in between leaves a directory without record, which the next start
    removes.
    """
    layers_file = root / "overlay-layers/layers.json"
    raw: list[dict[str, Any]] = json.loads(_read(layers_file) or b"[]")
    layers = _layers(root)
    images = records.decode_images(_read(root / "overlay-images/images.json"))
    containers = {container.layer for container in _containers(root)} - {""}
    used = _below(images, layers, containers) | containers
    known = {layer["id"] for layer in raw} | _ids(root / "overlay")
    orphans = sorted((known if among is None else known & among) - used)
    kept = [layer for layer in raw if layer["id"] not in orphans]
    if len(kept) < len(raw):
        _write(layers_file, kept)
        touch()
    for image in _ids(root / "overlay-images") - {image.id for image in images}:
        shutil.rmtree(root / "overlay-images" / image, ignore_errors=True)
    for layer in orphans:
        _remove_files(root, layer)
    return orphans


def _ids(directory: Path) -> set[str]:
    """The directories named by an id."""
    if not directory.is_dir():
        return set()
    return {e.name for e in os.scandir(directory) if records.is_layer_id(e.name) and e.is_dir(follow_symlinks=False)}


def _write(path: Path, kept: list[dict[str, Any]]) -> None:
    files.replace(path, json.dumps(kept).encode(), mode=0o600)


def _containers(root: Path) -> list[StoredContainer]:
    """Containers of other programs that share the store, such as podman."""
    names = ("containers.json", "volatile-containers.json")
    return [c for name in names for c in records.decode_containers(_read(root / "overlay-containers" / name))]


def _layers(root: Path) -> dict[str, StoredLayer]:
    """Recorded layers by id, including the volatile ones of containers."""
    files = (root / "overlay-layers" / name for name in ("layers.json", "volatile-layers.json"))
    return {id: layer for file in files for id, layer in _by_id(_read(file)).items()}


def _below(images: list[StoredImage], layers: dict[str, StoredLayer], more: Collection[str] = ()) -> set[str]:
    """The layers of images and of the layer ids in more, with all their recorded parents."""
    used: set[str] = set()
    for top in {*more, *(top for image in images for top in (image.layer, *image.mapped_layers))}:
        while top in layers and top not in used:
            used.add(top)
            top = layers[top].parent
    return used


def _remove_files(root: Path, layer: str) -> None:
    directory = root / "overlay" / layer
    with contextlib.suppress(OSError):
        link = (directory / "link").read_text().strip()
        if link.isalnum():
            (root / "overlay/l" / link).unlink()
    shutil.rmtree(directory, ignore_errors=True)
    for path in (root / "overlay-layers").glob(f"{layer}.*"):  # .tar-split.gz, .lock
        path.unlink(missing_ok=True)
    shutil.rmtree(root / "overlay-layers" / layer, ignore_errors=True)  # its big data


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[Any]:
    """Hold the store's write lock; yields a function that marks the records as changed, so that others read them again.

    It is a lock of the process (fcntl): it does not exclude other threads, and any close of the file releases it.
    Raises DEADLINE if another process keeps it.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _lock(fd, path)
        yield lambda: os.pwrite(fd, os.urandom(64), 0)
    finally:
        os.close(fd)  # which unlocks


def _lock(fd: int, path: Path) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            if time.monotonic() > deadline:
                raise CrishimError(
                    Kind.DEADLINE, f"{path} is locked by another process for {LOCK_TIMEOUT:g} s", path=path
                ) from None
            time.sleep(LOCK_PAUSE)
        else:
            return


def _has_config(root: Path, image: StoredImage) -> bool:
    key = image.config_key
    return bool(key) and (root / "overlay-images" / image.id / records.big_data_file(key)).exists()


def _by_id(text: bytes) -> dict[str, StoredLayer]:
    return {layer.id: layer for layer in records.decode_layers(text)}


def _read(path: Path) -> bytes:
    """A file of the store's records; b"" if it does not exist. Raises ValueError for an empty file, which is damaged:
    as "no images" it would make every layer an orphan."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return b""
    if not data.strip(b"\0 \n"):
        raise ValueError(f"{path} is empty")
    return data
