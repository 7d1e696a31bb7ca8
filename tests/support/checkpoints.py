"""Checkpoint archives as CheckpointContainer writes them, made without a container."""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ABOUT = {"id": "c1", "name": "c", "rootfsImage": "app:1", "rootfsImageRef": "app:1", "runtime": "crun"}
SPEC: dict[str, Any] = {"process": {"args": ["main"], "env": []}, "linux": {}, "mounts": []}


def entry(name: str, type: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"", **fields: Any) -> Any:
    """(header, content) of an archive's entry."""
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = type, link, len(data)
    for field, value in fields.items():
        setattr(made, field, value)
    return made, data


def tar(entries: Iterable[Any]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for header, data in entries:
            archive.addfile(header, io.BytesIO(data))
    return file.getvalue()


def contents(layer: Iterable[Any] = (), **changes: bytes | None) -> dict[str, bytes]:
    """The files of an archive by name. layer: entries of its writable layer. changes: by name with _ for . and -;
    None leaves one out."""
    files: dict[str, bytes | None] = {
        "checkpoint/inventory.img": b"criu",
        "checkpoint/pages-1.img": b"memory",
        "config.dump": json.dumps(ABOUT).encode(),
        "dump.log": b"said",
        "rootfs-diff.tar": tar(layer),
        "spec.dump": json.dumps(SPEC).encode(),
    }
    names = {name.replace(".", "_").replace("-", "_"): name for name in files}
    files |= {names.get(key, key): data for key, data in changes.items()}
    return {name: data for name, data in files.items() if data is not None}


def write(path: Path, files: Mapping[str, bytes] | None = None, more: Iterable[Any] = ()) -> Path:
    """An archive, root's alone. more: further entries."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    named = contents() if files is None else files
    path.write_bytes(tar([*(entry(name, data=data) for name, data in named.items()), *more]))
    path.chmod(0o600)
    return path
