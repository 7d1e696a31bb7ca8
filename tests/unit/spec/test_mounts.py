from pathlib import Path
from typing import Any

import pytest

from crishim.errors import CrishimError, Kind
from crishim.linux.mounts import parse_mountinfo
from crishim.pb import cri_pb2 as cri
from crishim.spec import mounts
from crishim.spec.mounts import ImageVolume, Prepared


def resolve(request: cri.Mount, volumes: dict[str, ImageVolume] | None = None, create: bool = False) -> Prepared:
    (result,) = mounts.resolve([request], volumes or {}, create_missing=create, features=None)
    return result


def test_a_symlink_is_resolved(tmp_path: Path) -> None:
    """host_path: the target is mounted, and the record says so."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    found = resolve(cri.Mount(container_path="/c", host_path=str(tmp_path / "link")))
    assert found.source == str(tmp_path / "real")
    assert found.record().host_path == str(tmp_path / "real")


def test_a_missing_host_path_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    """The default: the definition's words. Nothing is made."""
    with pytest.raises(CrishimError, match=r"missing_host_path") as caught:
        resolve(cri.Mount(container_path="/c", host_path=str(tmp_path / "no")))
    assert caught.value.kind is Kind.NOT_FOUND
    assert not (tmp_path / "no").exists()


def test_a_missing_host_path_can_be_made(tmp_path: Path) -> None:
    """hostPath type "": a directory, with its parents; not over a file."""
    path = tmp_path / "a/b"
    assert resolve(cri.Mount(container_path="/c", host_path=str(path)), create=True).source == str(path)
    assert path.is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(CrishimError, match="cannot be made"):
        resolve(cri.Mount(container_path="/c", host_path=str(tmp_path / "file/x")), create=True)


def test_a_dangling_symlink_does_not_exist(tmp_path: Path) -> None:
    """What it points to is missing."""
    (tmp_path / "link").symlink_to("gone")
    with pytest.raises(CrishimError) as caught:
        resolve(cri.Mount(container_path="/c", host_path=str(tmp_path / "link")))
    assert caught.value.kind is Kind.NOT_FOUND


def volume(tmp_path: Path, sub_path: str = "") -> Prepared:
    request = cri.Mount(container_path="/v", image=cri.ImageSpec(image="i"), readonly=True, image_sub_path=sub_path)
    return resolve(request, {"/v": ImageVolume(directory=str(tmp_path), image_id="sha256:1", image_ref="i@sha256:2")})


def test_an_image_volume(tmp_path: Path) -> None:
    """The mounted image is the source; the record has its id and digest and no host path."""
    found = volume(tmp_path)
    assert found.source == str(tmp_path)
    record = found.record()
    assert (record.host_path, record.image_id, record.image_ref) == ("", "sha256:1", "i@sha256:2")


def test_image_sub_path(tmp_path: Path) -> None:
    """image_sub_path is resolved as if the image were the root: its absolute links stay inside."""
    (tmp_path / "srv/data").mkdir(parents=True)
    (tmp_path / "link").symlink_to("/srv")
    (tmp_path / "up").symlink_to("../../../../srv/data")
    assert volume(tmp_path, "srv/data").source == str(tmp_path / "srv/data")
    assert volume(tmp_path, "link/data").source == str(tmp_path / "srv/data")
    assert volume(tmp_path, "up").source == str(tmp_path / "srv/data")


@pytest.mark.fact("image volumes")
@pytest.mark.parametrize("sub_path", ["missing", "file", "escape"])
def test_image_sub_path_must_be_a_directory_inside(tmp_path: Path, sub_path: str) -> None:
    """Missing, a file, or a link to a place only the host has: the kubelet's prefix, under UNKNOWN."""
    (tmp_path / "file").touch()
    (tmp_path / "escape").symlink_to("/usr/bin")
    with pytest.raises(CrishimError, match=r"^ImageVolumeMountFailed: ") as caught:
        volume(tmp_path, sub_path)
    assert caught.value.kind is Kind.UNKNOWN


TABLE = parse_mountinfo(
    "1 0 8:1 / / rw shared:1 - ext4 /dev/a rw\n"
    "2 1 8:1 / /private rw - ext4 /dev/b rw\n"
    "3 1 8:1 / /slave rw master:1 - ext4 /dev/c rw\n"
    "4 3 8:1 / /slave/both rw shared:9 master:1 - ext4 /dev/d rw\n"
    "5 1 8:1 / /over rw shared:2 - ext4 /dev/e rw\n"
    "6 1 8:1 / /over rw - ext4 /dev/f rw\n"
)


@pytest.mark.parametrize(
    ("source", "host_to_container", "bidirectional"),
    [
        ("/home", True, True),
        ("/private/x", False, False),
        ("/privateer", True, True),
        ("/slave/x", True, False),
        ("/slave/both/x", True, True),
        ("/over/x", False, False),
    ],
)
def test_propagation_needs_a_source_that_takes_part(source: str, host_to_container: bool, bidirectional: bool) -> None:
    """Host-to-container needs a shared or slave mount, bidirectional a shared one; the mount on top counts."""
    mounts.check_propagation(source, cri.PROPAGATION_PRIVATE, TABLE)
    for mode, possible in (
        (cri.PROPAGATION_HOST_TO_CONTAINER, host_to_container),
        (cri.PROPAGATION_BIDIRECTIONAL, bidirectional),
    ):
        if possible:
            mounts.check_propagation(source, mode, TABLE)
        else:
            with pytest.raises(CrishimError) as caught:
                mounts.check_propagation(source, mode, TABLE)
            assert caught.value.kind is Kind.PRECONDITION


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({}, ["rbind", "rprivate", "rw"]),
        ({"readonly": True}, ["rbind", "rprivate", "ro"]),
        ({"readonly": True, "recursive_read_only": True}, ["rbind", "rprivate", "rro"]),
        ({"propagation": 1, "readonly": True}, ["rbind", "rslave", "ro"]),
        ({"propagation": 2}, ["rbind", "rshared", "rw"]),
        ({"mount_options": ["noexec", "nosuid"]}, ["rbind", "rprivate", "rw", "noexec", "nosuid"]),
        ({"image": {"image": "i"}, "readonly": True}, ["rbind", "rprivate", "ro", "nodev"]),
    ],
)
def test_entry_options(fields: dict[str, Any], options: list[str]) -> None:
    """Three propagation modes, read-only in two depths, mount_options after them."""
    request = cri.Mount(container_path="/c/../d", **fields)
    made = mounts.entry(Prepared(request=request, source="/s"))
    assert made == {"destination": "/d", "type": "bind", "source": "/s", "options": options}


def test_entry_with_id_mappings() -> None:
    """Mount uidMappings and gidMappings become the spec's, for an idmapped mount."""
    one = [cri.IDMapping(host_id=1000, container_id=0, length=10)]
    made = mounts.entry(Prepared(request=cri.Mount(container_path="/c", uidMappings=one, gidMappings=one), source="/s"))
    assert made["uidMappings"] == made["gidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 10}]


@pytest.mark.parametrize("field", ["container_path", "host_path"])
def test_a_path_the_kernel_would_not_take(tmp_path: Path, field: str) -> None:
    """Its parts are not gone through: a pod's author may write hundreds of thousands of them."""
    request = cri.Mount(container_path="/c", host_path=str(tmp_path))
    setattr(request, field, "/a" * 500_000)
    with pytest.raises(CrishimError, match="1000000 bytes, at most 4095") as caught:
        mounts.resolve([request], {}, create_missing=True, features=None)
    assert caught.value.kind is Kind.INVALID
