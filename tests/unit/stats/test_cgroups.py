"""Reading cgroup files from a tree that looks like one."""

from pathlib import Path

import pytest

from crishim.stats import v1, v2
from crishim.stats.cgroups import Cgroups, page_size
from tests.unit.stats.recorded import V1, V2


def put(root: Path, files: dict[str, bytes], group: str) -> dict[str, Path]:
    """Write recorded files below root/CONTROLLER/GROUP; the mount points by controller."""
    for name, text in files.items():
        controller, _, file = name.partition("/")
        path = root / controller / group / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    return {directory.name: directory for directory in root.iterdir()}


@pytest.mark.parametrize(("kind", "files", "version"), [(v1, V1, 1), (v2, V2, 2)])
def test_files_are_found_in_their_hierarchies(
    tmp_path: Path, kind: object, files: dict[str, bytes], version: int
) -> None:
    """Usage and detail of a group are what its files say, on both versions."""
    reader = Cgroups(put(tmp_path, files, "pod/c1"), version, ("2MB",))
    usage, detail = reader.usage("/pod/c1"), reader.detail("/pod/c1")
    assert usage is not None
    assert usage == kind.usage(files, usage.taken_at)  # type: ignore[attr-defined]
    assert detail == kind.detail({k: t for k, t in files.items() if "1GB" not in k}, ("2MB",))  # type: ignore[attr-defined]


def test_a_group_that_is_gone_is_none(tmp_path: Path) -> None:
    """There is a difference between using nothing and not being there."""
    reader = Cgroups(put(tmp_path, V2, "here"), 2)
    assert (reader.usage("/gone"), reader.detail("/gone"), reader.processes("/gone")) == (None, None, [])


def test_the_root_is_no_containers_group(tmp_path: Path) -> None:
    """A record without a cgroup does not get the figures of the whole host."""
    reader = Cgroups(put(tmp_path, V2, ""), 2)
    assert (reader.usage(""), reader.usage("/"), reader.processes("/")) == (None, None, [])


def test_controllers_mounted_together(tmp_path: Path) -> None:
    """systemd mounts cpu and cpuacct as one: "cpu,cpuacct"."""
    roots = put(tmp_path, V1, "c")
    joint = tmp_path / "cpu,cpuacct"
    (tmp_path / "cpuacct").rename(joint)
    del roots["cpuacct"], roots["cpu"]
    usage = Cgroups(roots | {"cpu,cpuacct": joint}, 1).usage("c")
    assert usage is not None
    assert usage.cpu == 15234987345


def test_processes_of_nested_groups(tmp_path: Path) -> None:
    """Processes of the groups below count; a group whose list cannot be read does not stop the count."""
    top = tmp_path / "pod"
    for name, pids in (("", ""), ("a", "1\n2\n"), ("a/inner", "3\n"), ("b", "")):
        (top / name).mkdir(parents=True, exist_ok=True)
        (top / name / "cgroup.procs").write_text(pids)
    (top / "b/cgroup.procs").unlink()
    assert sorted(Cgroups({"unified": tmp_path}, 2).processes("/pod")) == [1, 2, 3]


@pytest.mark.parametrize(
    ("directory", "name"), [("hugepages-64kB", "64KB"), ("hugepages-2048kB", "2MB"), ("hugepages-1048576kB", "1GB")]
)
def test_huge_page_sizes_as_cgroup_files_name_them(directory: str, name: str) -> None:
    """sysfs says 2048kB, hugetlb says 2MB."""
    assert page_size(directory) == name
