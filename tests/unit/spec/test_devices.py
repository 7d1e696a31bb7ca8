import os
import stat
from pathlib import Path

import pytest

from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri
from crishim.spec import devices

from .conftest import Apply, Make

DENY = {"allow": False, "access": "rwm"}


def with_device(**fields: str) -> cri.ContainerConfig:
    return cri.ContainerConfig(devices=[cri.Device(**fields)])


def test_one_device(make: Make, apply: Apply) -> None:
    """A node under another path, with its rule after the base's denial."""
    config = with_device(host_path="/dev/null", container_path="/dev/void", permissions="r")
    linux = apply(devices.devices, make(config=config)).spec["linux"]
    (node,) = linux["devices"]
    assert (node["path"], node["type"], node["major"], node["minor"]) == ("/dev/void", "c", 1, 3)
    rule = {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"}
    assert linux["resources"]["devices"] == [DENY, rule]


def test_a_symlink_is_resolved_and_keeps_its_name(make: Make, apply: Apply, tmp_path: Path) -> None:
    """/dev/disk/by-id links are what users write; without a container path the link's name is used."""
    link = tmp_path / "link"
    link.symlink_to("/dev/zero")
    (node,) = apply(devices.devices, make(config=with_device(host_path=str(link)))).spec["linux"]["devices"]
    assert (node["path"], node["minor"]) == (str(link), 5)


def test_a_directory_of_devices(make: Make, apply: Apply, tmp_path: Path) -> None:
    """Every device below it, under the container path; other files are left out."""
    (tmp_path / "sub").mkdir()
    try:
        os.mknod(tmp_path / "sub/n", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("making a device node needs CAP_MKNOD")
    (tmp_path / "file").touch()
    config = with_device(host_path=str(tmp_path), container_path="/dev/all")
    linux = apply(devices.devices, make(config=config)).spec["linux"]
    assert [n["path"] for n in linux["devices"]] == ["/dev/all/sub/n"]
    assert len(linux["resources"]["devices"]) == 2


@pytest.mark.parametrize(("path", "kind"), [("/dev/does-not-exist", Kind.NOT_FOUND), ("/etc/passwd", Kind.INVALID)])
def test_no_such_device(make: Make, apply: Apply, path: str, kind: Kind) -> None:
    """A missing path and a path that is no device are named."""
    with pytest.raises(CrishimError, match=path) as caught:
        apply(devices.devices, make(config=with_device(host_path=path)))
    assert caught.value.kind is kind


def test_privileged_has_all_host_devices(make: Make, apply: Apply) -> None:
    """Every node below /dev but those each container has its own of; everything allowed."""
    config = cri.ContainerConfig()
    config.linux.security_context.privileged = True
    linux = apply(devices.devices, make(config=config)).spec["linux"]
    paths = {n["path"] for n in linux["devices"]}
    assert "/dev/null" in paths
    assert not {p for p in paths if p.startswith(("/dev/pts/", "/dev/shm/", "/dev/mqueue/")) or p == "/dev/console"}
    assert linux["resources"]["devices"] == [DENY, {"allow": True, "access": "rwm"}]
