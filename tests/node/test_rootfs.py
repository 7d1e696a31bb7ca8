"""Root file systems: overlayfs over the layers that skopeo stored."""

import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from crishim.errors import CrishimError, Kind
from crishim.images.rootfs import IdMap, RootFilesystems, host_id
from crishim.images.usage import DiskUsage, StoreMeter, measure
from crishim.linux import mounts
from crishim.model import ImageRecord, OwnerRange
from crishim.operations.import_image import import_image
from tests.support import oci_layout
from tests.support.image_node import Node, tar_files
from tests.support.image_node import locked_registry as locked_registry
from tests.support.image_node import node as node
from tests.support.image_node import registry as registry
from tests.support.image_node import registry_files as registry_files

pytestmark = pytest.mark.node

MAPPING = (OwnerRange(container=0, host=200000, length=65536),)


async def image_of(node: Node, *layers: bytes) -> ImageRecord:
    """An image of these layers, lowest first, by way of a layout directory."""
    layout = oci_layout.Layout(node.base / "layout")
    layout.name(layout.manifest(layers), "example.com/it:1")
    [image] = await import_image(str(node.base / "layout"), transport=node.transport)
    return image


@pytest.fixture
def userns() -> Iterator[str]:
    """A user namespace with MAPPING, as a path."""
    process = subprocess.Popen(["unshare", "--user", "sleep", "1000"])
    try:
        own = os.readlink("/proc/self/ns/user")
        deadline = time.monotonic() + 10
        while os.readlink(f"/proc/{process.pid}/ns/user") == own:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{process.pid}/{kind}").write_text("0 200000 65536\n")
        yield f"/proc/{process.pid}/ns/user"
    finally:
        process.kill()
        process.wait()


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


async def test_layers_whiteouts_and_opaque_directories(node: Node) -> None:
    """Upper layers replace and remove what lower ones have; a container's changes touch no layer."""
    image = await image_of(
        node,
        tar_files({"a": b"low", "b": b"low", "d/": None, "d/x": b"low", "e/": None, "e/x": b"low"}),
        tar_files({"a": b"high", ".wh.b": b"", "d/": None, "d/.wh..wh..opq": b"", "d/y": b"high", "e/.wh.x": b""}),
    )
    rootfs = RootFilesystems(node.place.root)
    for number in range(2):
        state, target = node.base / f"state{number}", node.base / f"merged{number}"
        await rootfs.mount(image, state, target)
        assert files(target) == {"a": b"high", "d/y": b"high"}
        (target / "a").write_bytes(b"mine")
        (target / "d/y").unlink()
        (target / "new").write_bytes(b"n" * 5000)
        assert files(target) == {"a": b"mine", "new": b"n" * 5000}
        used = await rootfs.usage(state)
        assert used.inodes == 5  # upper, a, new, d and the whiteout in it
        assert used.bytes >= 8192
    for number in range(2):
        await rootfs.remove(node.base / f"state{number}", node.base / f"merged{number}")
        await rootfs.remove(node.base / f"state{number}", node.base / f"merged{number}")
    assert mounts.below(node.base) == []
    assert not list(node.base.glob("state*")) + list(node.base.glob("merged*"))
    assert await rootfs.usage(node.base / "state0") == DiskUsage()


async def test_many_layers(node: Node) -> None:
    """200 layers are mounted in their order: as paths they would fill the page of mount options five times."""
    image = await image_of(node, tar_files({"a": b"a"}))
    layers = [f"{n:064x}" for n in range(200)]
    for number, layer in enumerate(layers):
        diff = node.place.root / "overlay" / layer / "diff"
        diff.mkdir(parents=True)
        (diff / f"f{number}").touch()
        (diff / "top").write_text(str(number))
    rootfs = RootFilesystems(node.place.root)
    await rootfs.mount(replace(image, layers=tuple(layers)), node.base / "state", node.base / "merged")
    assert len(files(node.base / "merged")) == 201
    assert (node.base / "merged/top").read_text() == "0"
    await rootfs.remove(node.base / "state", node.base / "merged")


async def test_image_without_layers(node: Node) -> None:
    """An image of no layer at all is an empty root file system that can be written."""
    rootfs = RootFilesystems(node.place.root)
    (node.place.root / "overlay").mkdir(exist_ok=True)
    image = ImageRecord(id="sha256:0", repo_tags=(), repo_digests=(), size=1, config=b"{}", layers=())
    await rootfs.mount(image, node.base / "state", node.base / "merged")
    (node.base / "merged/new").write_bytes(b"")
    assert files(node.base / "merged") == {"new": b""}
    await rootfs.remove(node.base / "state", node.base / "merged")
    await rootfs.mount_readonly(image, node.base / "merged")
    assert files(node.base / "merged") == {}
    await rootfs.unmount(node.base / "merged")
    assert sorted(p.name for p in node.base.iterdir()) == ["registries.conf", "root", "run", "scratch", "secrets"]


async def test_root_is_open_to_all(node: Node) -> None:
    """The root directory is root's and 0755 where the image does not say, as with docker, and what it says else."""
    plain = await image_of(node, tar_files({"a": b""}))
    rootfs = RootFilesystems(node.place.root)
    await rootfs.mount(plain, node.base / "state", node.base / "merged")
    info = (node.base / "merged").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (0o755, 0, 0)
    await rootfs.remove(node.base / "state", node.base / "merged")


async def test_mount_again_after_a_reboot(node: Node) -> None:
    """A writable layer whose mount vanished without unmount is mounted again, with its content."""
    image = await image_of(node, tar_files({"a": b"a"}))
    rootfs = RootFilesystems(node.place.root)
    await rootfs.mount(image, node.base / "state", node.base / "merged")
    (node.base / "merged/b").write_bytes(b"b")
    mounts.unmount(node.base / "merged")
    await rootfs.mount(image, node.base / "state", node.base / "merged")
    assert files(node.base / "merged") == {"a": b"a", "b": b"b"}
    await rootfs.remove(node.base / "state", node.base / "merged")


async def test_read_only_mount(node: Node) -> None:
    """An image volume shows the image's content, whiteouts applied, and cannot be written; one layer is enough."""
    one = await image_of(node, tar_files({"a": b"a", "b": b"b"}))
    rootfs = RootFilesystems(node.place.root)
    await rootfs.mount_readonly(one, node.base / "volume")
    assert files(node.base / "volume") == {"a": b"a", "b": b"b"}
    with pytest.raises(OSError, match="Read-only"):
        (node.base / "volume/a").write_bytes(b"")
    await rootfs.unmount(node.base / "volume")
    await rootfs.unmount(node.base / "volume")


async def test_mapped_owners(node: Node, userns: str) -> None:
    """With a user namespace, files of the image's root belong to the container's root, and so do new ones."""
    image = await image_of(node, tar_files({"a": b"a"}), tar_files({"b": b"b"}))
    rootfs = RootFilesystems(node.place.root)
    idmap = IdMap(MAPPING, MAPPING, userns)
    target = await rootfs.mount(image, node.base / "state", node.base / "merged", idmap=idmap)
    for path in (target, target / "a", target / "b"):
        assert (path.stat().st_uid, path.stat().st_gid) == (200000, 200000)
    enter = ["nsenter", f"--user={userns}", "--setuid=0", "--setgid=0"]
    subprocess.run([*enter, "sh", "-c", "echo changed > a && mkdir new"], check=True, cwd=target)  # noqa: ASYNC221
    assert (target / "a").read_bytes() == b"changed\n"
    assert (target / "new").stat().st_uid == 200000
    assert (node.place.root / "overlay" / image.layers[1] / "diff/a").stat().st_uid == 0
    assert mounts.below(node.base) == [str(target)]  # the mapped view of the store is gone already
    await rootfs.remove(node.base / "state", target)
    volume = await rootfs.mount_readonly(image, node.base / "volume", idmap=idmap)
    assert (volume / "b").stat().st_uid == 200000
    await rootfs.unmount(volume)


async def test_failed_mount_leaves_nothing(node: Node) -> None:
    """A layer that is gone, a namespace that is none: an error that names the image, and no mount."""
    image = await image_of(node, tar_files({"a": b"a"}))
    rootfs = RootFilesystems(node.place.root)
    with pytest.raises(CrishimError) as caught:
        await rootfs.mount(replace(image, layers=("0" * 64,)), node.base / "state", node.base / "merged")
    assert caught.value.kind is Kind.NOT_FOUND
    assert image.id in caught.value.message
    bad = IdMap(MAPPING, MAPPING, "/dev/null")
    with pytest.raises(CrishimError):
        await rootfs.mount(image, node.base / "state", node.base / "merged", idmap=bad)
    with pytest.raises(CrishimError) as caught:
        await rootfs.mount(replace(image, layers=image.layers * 201), node.base / "state", node.base / "merged")
    assert caught.value.kind is Kind.INVALID
    assert not list(node.base.glob("merged*"))


async def test_hostile_depth_is_removed(node: Node) -> None:
    """A writable layer with thousands of directories in one another is measured without harm, and removed."""
    image = await image_of(node, tar_files({"a": b"a"}))
    rootfs = RootFilesystems(node.place.root)
    target = await rootfs.mount(image, node.base / "state", node.base / "merged")
    dig(target, 3000)
    assert 200 <= (await rootfs.usage(node.base / "state")).inodes < 3000
    await rootfs.remove(node.base / "state", target)
    assert not (node.base / "state").exists()


def dig(directory: Path, depth: int) -> None:
    fd = os.open(directory, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


async def test_usage_of_the_store(node: Node) -> None:
    """The store's usage is what du finds in its layers and records; it falls when an image goes."""
    empty = await StoreMeter(node.store).usage()
    image = await image_of(node, tar_files({"a": os.urandom(1 << 20)}), tar_files({"b": b"b"}))
    meter = StoreMeter(node.store)
    full = await meter.usage()
    parts = [node.place.root / p for p in ("overlay-images", "overlay-layers")]
    parts += [node.place.root / "overlay" / layer for layer in image.layers]
    du = subprocess.run(["du", "-scB1", *parts], stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: ASYNC221
    assert full.usage.bytes == int(du.splitlines()[-1].split()[0])
    assert full.usage.inodes > empty.usage.inodes
    assert full.taken_at > empty.taken_at > 0
    assert Path(full.mountpoint).is_dir()
    await node.transport.remove(image)
    assert (await meter.usage()).usage.bytes < full.usage.bytes - (1 << 20)


def test_measure_counts_a_linked_file_once(tmp_path: Path) -> None:
    """Two names of one file are one inode; a symlink is followed nowhere; a missing tree is zero."""
    (tmp_path / "a").write_bytes(b"x" * 10000)
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").symlink_to("/")
    found = measure(tmp_path)
    assert found.inodes == 3
    assert found.bytes < 100000
    assert measure(tmp_path / "none") == DiskUsage()


def test_unmapped_owner_is_invalid() -> None:
    """An owner outside the mappings cannot be expressed."""
    assert host_id(5, MAPPING) == 200005
    with pytest.raises(CrishimError):
        host_id(65536, MAPPING)


async def test_wipe_of_the_store_is_seen(node: Node) -> None:
    """Records that vanish or break are noticed by the next look."""
    await image_of(node, tar_files({"a": b"a"}))
    assert (await node.store.snapshot()).images
    (node.place.root / "overlay-images/images.json").write_text("{")
    with pytest.raises(CrishimError, match="cannot be read"):
        await node.store.snapshot()
    shutil.rmtree(node.place.root / "overlay-images")
    assert (await node.store.snapshot()).images == ()
