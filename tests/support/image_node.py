"""An image store on scratch directories with the real skopeo, for the node tests of images; and its fixtures."""

import asyncio
import contextlib
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from crishim.images.skopeo import Skopeo, StoreDirectories
from crishim.images.store import ImageStore
from crishim.images.transport import Transport
from crishim.linux import mounts
from tests.support.oci_layout import tar_files as tar_files
from tests.support.registry import Registry
from tests.support.registry import locked_registry as locked_registry
from tests.support.registry import registry as registry
from tests.support.registry import registry_files as registry_files


class Node:
    """An image store on scratch directories, and what may be different about its skopeo."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.place = StoreDirectories(base / "root", base / "run", base / "scratch", base / "secrets")
        self.store = ImageStore(self.place.root, pinned=["*/pinned:*"])
        self.registries = base / "registries.conf"
        self.registries.write_text("")
        self.transport = self.with_skopeo()

    def trust(self, *addresses: str) -> None:
        """Let registries be plain HTTP."""
        text = "".join(f'[[registry]]\nlocation = "{a}"\ninsecure = true\n' for a in addresses)
        self.registries.write_text(text)

    def with_skopeo(
        self, program: str = "skopeo", policy: Path | None = None, timeout: float = 60, stall: float = 30
    ) -> Transport:
        skopeo = Skopeo(
            self.place, program=program, registries_conf=self.registries, policy=policy, stall_timeout=stall
        )
        return Transport(skopeo, self.store, pull_timeout=timeout)

    def wrapper(self, script: str) -> str:
        """A program that runs a shell script before it becomes skopeo."""
        path = self.base / "wrapped-skopeo"
        path.write_text(f'#!/bin/sh\n{script}\nexec skopeo "$@"\n')
        path.chmod(0o755)
        return str(path)

    def leftovers(self) -> dict[str, list[str]]:
        """Everything a store without images should not have."""
        root, records = self.place.root, self.place.root / "overlay-layers/layers.json"
        id = "[0-9a-f]" * 64
        found = {
            "layers": [p.name for p in root.glob(f"overlay/{id}")],
            "links": [p.name for p in root.glob("overlay/l/*")],
            "records": [str(r["id"]) for r in json.loads(records.read_text())] if records.exists() else [],
            "splits": [p.name for p in root.glob("overlay-layers/*.gz")],
            "images": [p.name for p in root.glob(f"overlay-images/{id}")],
            "scratch": [p.name for p in self.place.scratch.iterdir()],
        }
        return {kind: names for kind, names in found.items() if names}


@pytest.fixture
async def node(registry: Registry) -> AsyncIterator[Node]:
    """A store of its own; afterwards no mount, descriptor, process, secret or scratch file is left."""
    descriptors = len(os.listdir("/proc/self/fd"))
    with scratch() as base:
        node = Node(base)
        node.trust(registry.address)
        await node.transport.recover()
        yield node
        assert mounts.below(base) == []
        assert list(node.place.secrets.iterdir()) == []
        assert list(node.place.scratch.iterdir()) == []
        assert processes_of(base) == []
    await until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A directory on a tmpfs, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="crishim-images-", dir="/dev/shm") as directory:
        yield Path(directory)


def processes_of(base: Path) -> list[str]:
    """Command lines that name a directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(base) in line:
            found.append(line)
    return found


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.001)


@pytest.fixture(scope="module")
def small(registry: Registry) -> str:
    """The digest of test/small:1 and :2, and of other/small:1."""
    layer = tar_files({"etc/": None, "etc/hello": b"hello\n"})
    return registry.push(["test/small:1", "test/small:2", "other/small:1"], [layer], {"User": "www-data:33"})


def random_layer(megabytes: int) -> bytes:
    return bytes(tar_files({f"blob{i}": os.urandom(1 << 20) for i in range(megabytes)}))
