"""Writing OCI image layouts with the standard library: what hack/build-images and the tests make their images with.

A layout is a directory of blobs named by their digest, with index.json naming manifests (OCI image-spec 1.1,
image-layout.md). Everything is reproducible: owners root, times zero, gzip without a time stamp.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
REF_NAME = "org.opencontainers.image.ref.name"

Descriptor = dict[str, object]


def tar_tree(tree: Path) -> bytes:
    """A layer of the files below tree, hard links kept, all owned by root."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(tree.rglob("*")):
            info = archive.gettarinfo(str(path), str(path.relative_to(tree)))
            info.uid = info.gid = info.mtime = 0
            info.uname = info.gname = ""
            if info.isreg():
                with path.open("rb") as content:
                    archive.addfile(info, content)
            else:
                archive.addfile(info)
    return out.getvalue()


def tar_files(files: Mapping[str, bytes | None]) -> bytes:
    """A layer from names and contents; None makes a directory. A name `dir/.wh.x` removes x of a lower layer."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
            else:
                info.size, info.mode = len(content), 0o644
                archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


class Layout:
    """An OCI layout being written; each image added is named in its index."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.manifests: list[Descriptor] = []
        (directory / "blobs/sha256").mkdir(parents=True, exist_ok=True)
        (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def blob(self, media_type: str, content: bytes) -> Descriptor:
        digest = hashlib.sha256(content).hexdigest()
        path = self.directory / "blobs/sha256" / digest
        if not path.exists():
            path.write_bytes(content)
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(content)}

    def manifest(self, layers: Iterable[bytes], config: Mapping[str, object] | None = None) -> Descriptor:
        """Store an image of these tar layers; config is the `config` object of the image configuration."""
        tars = list(layers)
        image = {
            "architecture": machine(),
            "os": "linux",
            "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], **(config or {})},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(t).hexdigest() for t in tars]},
            "history": [{"created_by": "hack/build-images"} for _ in tars],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(CONFIG, json.dumps(image).encode()),
            "layers": [self.blob(LAYER, gzip.compress(tar, 6, mtime=0)) for tar in tars],
        }
        return self.blob(MANIFEST, json.dumps(manifest).encode())

    def index(self, manifests: Iterable[Descriptor]) -> Descriptor:
        """Store a multi-platform index over manifests that have a `platform`."""
        content = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(manifests)}
        return self.blob(INDEX, json.dumps(content).encode())

    def name(self, descriptor: Descriptor, name: str) -> None:
        """Give an image a name in index.json, and write that."""
        self.manifests.append({**descriptor, "annotations": {REF_NAME: name}})
        index = {"schemaVersion": 2, "manifests": self.manifests}
        (self.directory / "index.json").write_text(json.dumps(index))

    def archive(self, target: Path) -> None:
        """Pack the layout as an OCI archive."""
        with tarfile.open(target, "w") as archive:
            for path in sorted(self.directory.rglob("*")):
                archive.add(path, str(path.relative_to(self.directory)), recursive=False)


def machine() -> str:
    """This machine's architecture as Go, and thus OCI, calls it."""
    import platform

    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
