"""Names and sources of the images in archives."""

import io
import json
import tarfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crishim.errors import CrishimError, Kind
from crishim.images.archives import CONTAINERD_NAME, REF_NAME, ArchivedImage, members


def tar(path: Path, mode: str = "w", **files: object) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            text = content if isinstance(content, bytes) else json.dumps(content).encode()
            info = tarfile.TarInfo(name.replace("_", "."))
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    return path


def index(*annotations: dict[str, str]) -> dict[str, object]:
    return {"manifests": [{"digest": "sha256:0", "annotations": a} for a in annotations]}


def test_oci_archive_with_one_image(tmp_path: Path) -> None:
    """The only image needs no selector; its whole name comes from either annotation."""
    for annotations in (
        {REF_NAME: "quay.io/a/b:1"},
        {REF_NAME: "1", CONTAINERD_NAME: "quay.io/a/b:1"},
    ):
        path = tar(tmp_path / "a.tar", index_json=index(annotations))
        assert members(path) == [ArchivedImage("oci-archive", "", "quay.io/a/b:1")]


@pytest.mark.parametrize("form", ["", "gz", "bz2", "xz"])
def test_compressed_archives(tmp_path: Path, form: str) -> None:
    """An archive that is compressed is read as well, by its content: its name says nothing."""
    path = tar(tmp_path / "a", f"w:{form}", large=bytes(300_000), index_json=index({REF_NAME: "busybox"}))
    assert [m.name for m in members(path)] == ["docker.io/library/busybox:latest"]
    path.write_bytes(path.read_bytes()[:90])
    with pytest.raises(CrishimError, match="no image archive"):
        members(path)


def test_an_archive_that_wants_gigabytes(tmp_path: Path) -> None:
    """An xz file may ask for 4 GiB to be unpacked, each of its blocks: that is refused before it is had."""
    path = tar(tmp_path / "a", "w:xz", index_json=index({REF_NAME: "busybox"}))
    data = bytearray(path.read_bytes())
    size = (data[12] + 1) * 4  # of the block's header: its size, flags, filter, length of properties, dictionary, CRC32
    assert data[14:16] == b"\x21\x01"
    data[16] = 40
    data[12 + size - 4 : 12 + size] = zlib.crc32(data[12 : 12 + size - 4]).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(CrishimError, match=r"no image archive: Memory usage limit"):
        members(path)


def test_several_images_are_selected_by_name(tmp_path: Path) -> None:
    """Of several images each is asked for by its name in the index; one without any cannot be."""
    path = tar(tmp_path / "a.tar", index_json=index({REF_NAME: "q.io/a:1"}, {REF_NAME: "q.io/b:1"}, {}))
    assert members(path) == [
        ArchivedImage("oci-archive", "q.io/a:1", "q.io/a:1"),
        ArchivedImage("oci-archive", "q.io/b:1", "q.io/b:1"),
    ]


def test_source() -> None:
    """skopeo's reference is made of the transport, wherever the archive lies, and the selector if there is one."""
    assert ArchivedImage("oci-archive", "", "q.io/a:1").source(Path("/x/link")) == "oci-archive:/x/link"
    assert ArchivedImage("docker-archive", "@0", "q.io/a:1").source(Path("/x/link")) == "docker-archive:/x/link:@0"


def test_docker_archive(tmp_path: Path) -> None:
    """Every tag of every image is a member."""
    images = [{"RepoTags": ["busybox:1", "q.io/b:2"]}, {"RepoTags": ["c:3"]}]
    path = tar(tmp_path / "a.tar", manifest_json=images)
    assert members(path) == [
        ArchivedImage("docker-archive", "busybox:1", "docker.io/library/busybox:1"),
        ArchivedImage("docker-archive", "q.io/b:2", "q.io/b:2"),
        ArchivedImage("docker-archive", "c:3", "docker.io/library/c:3"),
    ]


def test_archive_of_both_kinds(tmp_path: Path) -> None:
    """docker save of today writes an OCI layout that names tags only; then the docker list has the names."""
    both: dict[str, Any] = {"index_json": index({REF_NAME: "1"}), "manifest_json": [{"RepoTags": ["q.io/a:1"]}]}
    path = tar(tmp_path / "a.tar", **both)
    assert members(path) == [ArchivedImage("docker-archive", "q.io/a:1", "q.io/a:1")]


def test_given_name(tmp_path: Path) -> None:
    """An image without a name takes the one given; without that it is INVALID."""
    docker = tar(tmp_path / "d.tar", manifest_json=[{"RepoTags": None}])
    oci = tar(tmp_path / "o.tar", index_json=index({}))
    assert members(docker, "mine:1") == [ArchivedImage("docker-archive", "@0", "docker.io/library/mine:1")]
    assert members(oci, "mine:1") == [ArchivedImage("oci-archive", "", "docker.io/library/mine:1")]
    for path in (docker, oci):
        with pytest.raises(CrishimError, match="without a name"):
            members(path)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"other": b"x"},
        {"index_json": b"{"},
        {"index_json": {"manifests": []}},
        {"index_json": {"manifests": ["x"]}},
        {"index_json": []},
        {"manifest_json": {}},
        {"manifest_json": [1]},
        {"manifest_json": [{"RepoTags": ["Not A Name"]}]},
        {"index_json": index({REF_NAME: "--flag"})},
    ],
)
def test_what_is_no_archive(tmp_path: Path, files: dict[str, Any]) -> None:
    """Anything else is INVALID."""
    with pytest.raises(CrishimError) as caught:
        members(tar(tmp_path / "a.tar", **files))
    assert caught.value.kind is Kind.INVALID


@settings(max_examples=50)
@given(content=st.binary(max_size=2000))
def test_any_file_is_read_or_refused(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No file content raises anything but INVALID."""
    path = tmp_path_factory.mktemp("any") / "a"
    path.write_bytes(content)
    with pytest.raises(CrishimError) as caught:
        members(path)
    assert caught.value.kind is Kind.INVALID
