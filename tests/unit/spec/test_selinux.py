import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri
from crishim.spec import selinux
from crishim.spec.inputs import Host
from crishim.spec.mounts import Prepared

from .conftest import Apply, Make

SELINUX = Host(selinux=True)


def config(**parts: str) -> cri.ContainerConfig:
    result = cri.ContainerConfig()
    result.linux.security_context.selinux_options.CopyFrom(cri.SELinuxOption(**parts))
    return result


@pytest.mark.parametrize("level", ["s0", "s0:c1,c2", "s0-s0:c0.c1023", "s15:c5"])
def test_well_formed_levels(level: str) -> None:
    """Sensitivity, range, categories."""
    selinux.check(cri.SELinuxOption(level=level))


@pytest.mark.parametrize(
    "parts",
    [{"level": "s0:c1:c2"}, {"level": "c1"}, {"level": "s0,c1"}, {"type": "a:b"}, {"user": "x y"}, {"role": "a\n"}],
)
def test_a_malformed_label_fails_on_every_host(make: Make, apply: Apply, parts: dict[str, str]) -> None:
    """Also on a host without SELinux: INVALID."""
    for host in (Host(), SELINUX):
        with pytest.raises(CrishimError) as caught:
            apply(selinux.selinux, make(config=config(**parts), host=host))
        assert caught.value.kind is Kind.INVALID


def test_without_selinux_there_is_no_label(make: Make, apply: Apply) -> None:
    """runc refuses a label on such a host."""
    spec = apply(selinux.selinux, make(config=config(type="container_t"))).spec
    assert "selinuxLabel" not in spec["process"]
    assert "mountLabel" not in spec["linux"]


def test_parts_that_are_given_replace_the_defaults(make: Make, apply: Apply) -> None:
    """The file label has the same level, its own type."""
    spec = apply(selinux.selinux, make(config=config(type="t_t", level="s0:c1,c2"), host=SELINUX)).spec
    assert spec["process"]["selinuxLabel"] == "system_u:system_r:t_t:s0:c1,c2"
    assert spec["linux"]["mountLabel"] == "system_u:object_r:container_file_t:s0:c1,c2"


def test_the_pods_options_count_if_the_container_has_none(make: Make, apply: Apply) -> None:
    """A container is labelled as its pod."""
    pod = cri.PodSandboxConfig()
    pod.linux.security_context.selinux_options.level = "s0:c7,c8"
    spec = apply(selinux.selinux, make(pod=pod, host=SELINUX)).spec
    assert spec["process"]["selinuxLabel"].endswith(":s0:c7,c8")


def test_privileged_has_its_own_type(make: Make, apply: Apply) -> None:
    """spc_t: a super-privileged container."""
    request = cri.ContainerConfig()
    request.linux.security_context.privileged = True
    assert ":spc_t:" in apply(selinux.selinux, make(config=request, host=SELINUX)).spec["process"]["selinuxLabel"]


@given(st.text())
def test_a_pods_level_is_well_formed_and_stays(pod_id: str) -> None:
    """Derived from the id: the same after a restart, two different categories."""
    level = selinux.level_of(pod_id)
    selinux.check(cri.SELinuxOption(level=level))
    categories = re.fullmatch(r"s0:c(\d+),c(\d+)", level)
    assert categories
    low, high = map(int, categories.groups())
    assert 0 <= low < high < 1024
    assert level == selinux.level_of(pod_id)


def test_selinux_relabel_is_ignored_without_selinux(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only volumes that ask for it, only where there is a label, never an image's."""
    seen = []
    monkeypatch.setattr(selinux, "relabel", lambda path, label: seen.append((path, label)))
    volumes = [
        Prepared(request=cri.Mount(selinux_relabel=True), source="/a"),
        Prepared(request=cri.Mount(), source="/b"),
        Prepared(request=cri.Mount(selinux_relabel=True), source="/c", image_id="i"),
    ]
    selinux.relabel_volumes({"linux": {}}, volumes)
    assert seen == []
    selinux.relabel_volumes({"linux": {"mountLabel": "l"}}, volumes)
    assert seen == [("/a", "l")]


def test_system_directories_are_not_relabelled() -> None:
    """A hostPath of /etc must not take /etc away from the node."""
    with pytest.raises(CrishimError, match="/etc"):
        selinux.relabel("/etc", "l")


def test_relabel_visits_everything_but_follows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, directories and symlinks below the volume, each by a path that cannot be led outside."""
    (tmp_path / "volume/deep").mkdir(parents=True)
    (tmp_path / "volume/deep/file").touch()
    (tmp_path / "volume/out").symlink_to("/etc")
    seen = []

    def setxattr(path: str, name: str, value: bytes, follow_symlinks: bool = True) -> None:
        assert not follow_symlinks
        assert (name, value) == ("security.selinux", b"label\0")
        directory, _, last = path.rpartition("/")
        seen.append(f"{os.path.realpath(directory)}/{last}")

    monkeypatch.setattr(os, "setxattr", setxattr)
    selinux.relabel(str(tmp_path / "volume"), "label")
    assert sorted(seen) == sorted(
        str(tmp_path / p) for p in ("volume", "volume/deep", "volume/deep/file", "volume/out")
    )
