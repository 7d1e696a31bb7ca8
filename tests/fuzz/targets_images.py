"""What an image brings: its configuration, up to the config.json that is made of it, and the archive it comes in."""

import atexit
import json
import shutil
import tempfile
from pathlib import Path

from crishim import model, signals
from crishim.cri import images
from crishim.errors import CrishimError
from crishim.images import archives, image_config
from crishim.lifecycle import PodState
from crishim.model import ImageRecord
from crishim.operations.list_images import default_user
from crishim.pb import cri_pb2 as cri
from crishim.spec.build import Host, Inputs, build

_scratch: list[Path] = []
_POD = model.PodRecord(
    id="pod",
    state=PodState.READY,
    config=b"",
    handler="",
    created_at=1,
    namespaces=model.NamespacePaths(net="/n/net", ipc="/n/ipc", uts="/n/uts", pid="/n/pid"),
)


def scratch() -> Path:
    """A directory of this process, gone at its end."""
    if not _scratch:
        made = Path(tempfile.mkdtemp(prefix="crishim-fuzz-", dir="/dev/shm"))
        atexit.register(shutil.rmtree, made, ignore_errors=True)
        (made / "etc").mkdir()
        (made / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nweb:x:33:33::/:/bin/sh\n")
        (made / "etc/group").write_text("root:x:0:\nweb:x:33:web\n")
        _scratch.append(made)
    return _scratch[0]


def image_configuration(data: bytes) -> None:
    """Any image can be listed and described; a container of it has a config.json that can be written, or an error."""
    record = ImageRecord(id="sha256:0", repo_tags=(), repo_digests=(), size=1, config=data, layers=())
    uid, name = default_user(record)
    assert (uid is None) == bool(name)
    images.describe(record)
    try:
        image = image_config.parse(data)
        signals.parse((image.get("config") or {}).get("StopSignal") or "SIGTERM")
        inputs = Inputs(
            container_id="c",
            config=cri.ContainerConfig(),
            pod=cri.PodSandboxConfig(),
            record=_POD,
            image=image,
            rootfs=str(scratch()),
            cgroups_path="/pod/c",
            host=Host(),
        )
        built = build(inputs)
    except CrishimError:
        return
    spec = json.loads(built.encode())
    assert all(isinstance(a, str) for a in spec["process"]["args"])


def archive(data: bytes) -> None:
    """An image archive has members or is INVALID."""
    path = scratch() / "archive.tar"
    path.write_bytes(data)
    try:
        archives.members(path)
    except CrishimError:
        return


TARGETS = {"image-config": image_configuration, "archive": archive}
