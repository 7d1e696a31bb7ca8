"""Clearing what a killed or failed copy left in the store.

What containers/storage does by itself: a layer is recorded as incomplete before its first byte and freed from the flag
after its last; whoever opens the store for writing next removes incomplete ones. What it leaves: complete layers whose
image never came, image records without their configuration, directories of layers without a record. Those are removed
here, under the store's own lock (fcntl on layers.lock, containers/storage pkg/lockfile), with no copy of ours running.

A complete layer without an image is worth keeping for a while: the retry of a failed pull takes it instead of fetching
it again. So orphans go at start and when an image is removed, not after each failure.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crishim.images import records
from crishim.images.records import StoredImage, StoredLayer


def half_images(root: Path) -> list[str]:
    """Store ids of image records that never got their configuration or their layers: to be deleted through skopeo."""
    images = records.decode_images(_read(root / "overlay-images/images.json"))
    layers = _by_id(_read(root / "overlay-layers/layers.json"))
    return [i.id for i in images if not _has_config(root, i) or records.layer_chain(i.layer, layers) is None]


def remove_orphans(root: Path) -> list[str]:
    """Remove layers that no image record reaches, and layer directories without a record; the ids removed. Blocks.

    The record goes before the files: a crash in between leaves a directory without record, which the next run removes.
    """
    overlay = root / "overlay"
    if not overlay.is_dir():
        return []
    with _locked(root / "overlay-layers/layers.lock") as touch:
        layers_file = root / "overlay-layers/layers.json"
        raw: list[dict[str, Any]] = json.loads(_read(layers_file) or b"[]")
        layers = _by_id(json.dumps(raw).encode())
        used = _reachable(records.decode_images(_read(root / "overlay-images/images.json")), layers)
        kept = [layer for layer in raw if layer["id"] in used]
        on_disk = {
            e.name for e in os.scandir(overlay) if records.is_layer_id(e.name) and e.is_dir(follow_symlinks=False)
        }
        orphans = sorted((layers.keys() | on_disk) - used)
        if len(kept) < len(raw):
            temporary = layers_file.with_name(".tmp-crishim")
            temporary.write_text(json.dumps(kept))
            temporary.chmod(0o600)
            temporary.rename(layers_file)
            touch()
        for layer in orphans:
            _remove_files(root, layer)
    return orphans


def _reachable(images: list[StoredImage], layers: dict[str, StoredLayer]) -> set[str]:
    """Layers of all image records, as far down as they are there."""
    used: set[str] = set()
    for image in images:
        top = image.layer
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
    """Hold the store's lock for writing; the value marks the file as written, so that others read the records again."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX)
        yield lambda: os.pwrite(fd, os.urandom(64), 0)
    finally:
        os.close(fd)  # which unlocks


def _has_config(root: Path, image: StoredImage) -> bool:
    key = image.config_key
    return bool(key) and (root / "overlay-images" / image.id / records.big_data_file(key)).exists()


def _by_id(text: bytes) -> dict[str, StoredLayer]:
    return {layer.id: layer for layer in records.decode_layers(text)}


def _read(path: Path) -> bytes:
    """The store's records; b"" where there are none yet. ValueError for an empty file: it is damaged, and taken for no
    images every layer would be an orphan."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return b""
    if not data.strip(b"\0 \n"):
        raise ValueError(f"{path} is empty")
    return data
