"""Importing image archives and layouts with the real skopeo."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from crishim.errors import CrishimError, Kind
from crishim.images.skopeo import StoreDirectories
from crishim.operations.import_image import import_image
from tests.support import oci_layout
from tests.support.image_node import Node, scratch, tar_files
from tests.support.image_node import locked_registry as locked_registry
from tests.support.image_node import node as node
from tests.support.image_node import registry as registry
from tests.support.image_node import registry_files as registry_files
from tests.support.image_node import small as small

pytestmark = pytest.mark.node


BUILD_IMAGES = Path(__file__).parents[2] / "hack/build-images"


@pytest.fixture(scope="module")
def demo_archive() -> Iterator[Path]:
    with scratch() as base:
        archive = base / "demo:1.tar"
        subprocess.run([BUILD_IMAGES, "--demo", archive], check=True, stdout=subprocess.DEVNULL)
        yield archive


async def test_import_oci_archive(node: Node, demo_archive: Path) -> None:
    """The demo image comes in under the name it carries, even from a path with a colon."""
    [image] = await import_image(str(demo_archive), transport=node.transport)
    assert image.repo_tags == ("localhost/crishim/busybox:latest",)
    assert await node.store.find("localhost/crishim/busybox") == image


def docker_archives(oci: Path, directory: Path) -> tuple[Path, Path]:
    """The image of an OCI archive as a docker archive with two tags, and as one without."""
    copy = ["skopeo", "copy", "-q", "--insecure-policy"]
    link = directory / "oci.tar"  # skopeo's references end at a colon
    link.symlink_to(oci)
    tagged, bare = directory / "tagged.tar", directory / "bare.tar"
    more = ["--additional-tag", "quay.io/a/b:2"]
    subprocess.run([*copy, *more, f"oci-archive:{link}", f"docker-archive:{tagged}:busybox:1"], check=True)
    subprocess.run([*copy, f"oci-archive:{link}", f"docker-archive:{bare}"], check=True)
    return tagged, bare


async def test_import_docker_archive(node: Node, demo_archive: Path) -> None:
    """A docker archive brings all its tags; one without tags needs a name."""
    tagged, bare = docker_archives(demo_archive, node.base)
    images = await import_image(str(tagged), transport=node.transport)
    assert set(images[-1].repo_tags) == {"docker.io/library/busybox:1", "quay.io/a/b:2"}
    with pytest.raises(CrishimError, match="without a name"):
        await import_image(str(bare), transport=node.transport)
    [image] = await import_image(str(bare), "bare:1", transport=node.transport)
    assert "docker.io/library/bare:1" in image.repo_tags


async def test_import_layout_directory(node: Node) -> None:
    """A layout directory with two images brings both."""
    layout = oci_layout.Layout(node.base / "layout")
    for name in ("one", "two"):
        layout.name(layout.manifest([tar_files({name: b""})]), f"example.com/{name}:1")
    images = await import_image(str(node.base / "layout"), transport=node.transport)
    assert [i.repo_tags for i in images] == [("example.com/one:1",), ("example.com/two:1",)]


async def test_import_of_no_archive(node: Node) -> None:
    """A missing file is NOT_FOUND; a relative path, a text file and a broken archive are INVALID; nothing is left."""
    bad = node.base / "bad"
    bad.write_text("no archive")
    torn = node.base / "torn.tar"
    layout = oci_layout.Layout(node.base / "layout")
    layout.name(layout.manifest([tar_files({"a": os.urandom(1 << 16)})]), "example.com/torn:1")
    next(p for p in (node.base / "layout/blobs/sha256").iterdir() if p.stat().st_size > 1 << 15).write_bytes(b"torn")
    layout.archive(torn)
    kinds = {"relative": Kind.INVALID, str(node.base / "none"): Kind.NOT_FOUND, str(bad): Kind.INVALID}
    for path, kind in kinds.items():
        with pytest.raises(CrishimError) as caught:
            await import_image(path, transport=node.transport)
        assert caught.value.kind is kind
    with pytest.raises(CrishimError):
        await import_image(str(torn), transport=node.transport)
    assert (await node.store.snapshot()).images == ()


def test_modes_of_the_store(tmp_path: Path) -> None:
    """The store and its temporary directories are for root alone."""
    place = StoreDirectories(tmp_path / "a/root", tmp_path / "b/run", tmp_path / "a/scratch", tmp_path / "b/secrets")
    place.prepare()
    for path in (place.root, place.run, place.scratch, place.secrets):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
