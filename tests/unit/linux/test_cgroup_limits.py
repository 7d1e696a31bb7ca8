"""Limits of a cgroup, saved and put back, on a tree that looks like a hierarchy."""

from pathlib import Path

import pytest

from crishim.errors import CrishimError, Kind
from crishim.linux import cgroup_limits, cgroups

FILES = {
    "cpu.weight": "100",
    "cpu.max": "20000 100000",
    "cpuset.cpus": "",
    "memory.max": "67108864",
    "memory.swap.max": "0",
    "memory.high": "max",
    "memory.current": "4096",
    "hugetlb.2MB.max": "max",
    "hugetlb.2MB.rsvd.max": "max",
    "cgroup.freeze": "1",
}


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A v2 group /g with a few files."""
    directory = tmp_path / "g"
    directory.mkdir()
    for name, text in FILES.items():
        (directory / name).write_text(text + "\n")
    monkeypatch.setattr(cgroups, "hierarchies", lambda: {"unified": tmp_path})
    return directory


def now(group: Path) -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in group.iterdir()}


def test_what_changed_is_put_back(group: Path) -> None:
    """Limits and the unified keys asked for have their old values; other files are not touched."""
    saved = cgroup_limits.save("/g", ["memory.high"])
    for name in ("cpu.max", "cpuset.cpus", "memory.max", "memory.high", "hugetlb.2MB.max", "memory.current"):
        (group / name).write_text("7")
    cgroup_limits.restore(saved)
    assert now(group) == FILES | {"memory.current": "7"}


def test_a_file_that_went_away_is_no_error(group: Path) -> None:
    """The group may end while it is restored."""
    saved = cgroup_limits.save("/g")
    (group / "memory.max").unlink()
    cgroup_limits.restore(saved)


def test_files_that_bound_one_another_find_their_order(group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """memory may only go back after memory and swap: what is refused is tried again after the others."""
    saved = cgroup_limits.save("/g")
    for name in ("memory.max", "memory.swap.max"):
        (group / name).write_text("7")
    write = cgroup_limits._write

    def bounded(path: Path, value: str) -> bool:
        if path.name == "memory.max" and (group / "memory.swap.max").read_text() == "7":
            return False
        return write(path, value)

    monkeypatch.setattr(cgroup_limits, "_write", bounded)
    cgroup_limits.restore(dict(sorted(saved.items())))
    assert now(group) == FILES


def test_a_value_that_is_refused_is_named(group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever cleans up by hand needs the file and the value."""
    saved = cgroup_limits.save("/g")
    (group / "memory.max").write_text("7")
    monkeypatch.setattr(cgroup_limits, "_write", lambda path, value: False)
    with pytest.raises(CrishimError, match=r"memory\.max cannot be set back to 67108864"):
        cgroup_limits.restore(saved)


@pytest.mark.parametrize("name", ["../other/memory.max", "memory", "/etc/passwd", "", "a b.c", "memory.max\n"])
def test_unified_keys_are_file_names(group: Path, name: str) -> None:
    """A key from a request never leads out of the group's directory."""
    with pytest.raises(CrishimError) as caught:
        cgroup_limits.save("/g", [name])
    assert caught.value.kind is Kind.INVALID


def test_huge_pages_and_their_reservations(group: Path) -> None:
    """A size is limited in both of its files."""
    cgroup_limits.set_huge_pages("/g", {"2MB": 4194304})
    assert now(group)["hugetlb.2MB.max"] == now(group)["hugetlb.2MB.rsvd.max"] == "4194304"


@pytest.mark.parametrize(("size", "kind"), [("3MB", Kind.PRECONDITION), ("../x", Kind.INVALID), ("*", Kind.INVALID)])
def test_sizes_this_host_has_not(group: Path, size: str, kind: Kind) -> None:
    """Refused by name."""
    with pytest.raises(CrishimError) as caught:
        cgroup_limits.set_huge_pages("/g", {size: 0})
    assert caught.value.kind is kind


@pytest.mark.parametrize(("period", "text"), [(0, "max"), (50000, "max 50000")])
def test_lifting_the_quota(group: Path, period: int, text: str) -> None:
    """cpu.max takes quota and period together."""
    cgroup_limits.lift_cpu_quota("/g", period)
    assert now(group)["cpu.max"] == text


def test_thawing(group: Path) -> None:
    """A group somebody froze runs again."""
    cgroup_limits.thaw("/g")
    assert now(group)["cgroup.freeze"] == "0"
