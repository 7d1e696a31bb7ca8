"""A container request with nothing special in it, to be changed by each test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crishim import model
from crishim.lifecycle import PodState
from crishim.pb import cri_pb2 as cri
from crishim.spec import bundle
from crishim.spec.inputs import Draft, Editor, Host, Inputs

PASSWD = """root:x:0:0:root:/root:/bin/sh
# a comment, and lines that are none
broken:x:notanumber:1
daemon:x:1:1:daemon:/:/bin/false
alice:x:1000:1000:Alice:/home/alice:/bin/sh
1001:x:0:0:a name of digits:/:/bin/sh
"""
GROUP = """root:x:0:
wheel:x:10:root,alice
staff:x:50000:alice
alice:x:1000:
"""


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    """A root file system with a passwd and a group file."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    return tmp_path


Make = Callable[..., Inputs]


@pytest.fixture
def make(rootfs: Path) -> Make:
    """Inputs with keyword overrides; `config`, `pod` and `namespaces` may be given as messages or records."""

    def build(**changes: Any) -> Inputs:
        config = changes.pop("config", None) or cri.ContainerConfig(command=["/bin/true"])
        namespaces = changes.pop(
            "namespaces", model.NamespacePaths(net="/n/net", ipc="/n/ipc", uts="/n/uts", pid="/n/pid")
        )
        record = model.PodRecord(
            id="pod1", state=PodState.READY, config=b"", handler="", created_at=1, namespaces=namespaces
        )
        known: dict[str, Any] = {
            "container_id": "c1",
            "config": config,
            "pod": cri.PodSandboxConfig(),
            "record": record,
            "image": {},
            "rootfs": str(rootfs),
            "cgroups_path": "/pod/c1",
            "host": Host(),
        }
        return Inputs(**(known | changes))

    return build


Apply = Callable[[Editor, Inputs], Draft]


@pytest.fixture
def apply() -> Apply:
    """Run one editor over a fresh base spec."""

    def run(editor: Editor, inputs: Inputs) -> Draft:
        draft = Draft(spec=bundle.base())
        editor(draft, inputs)
        return draft

    return run
