"""What is read of the mount table: below a directory, and cgroup hierarchies, which are looked for once."""

from pathlib import Path
from typing import Any

import pytest

from crishim.linux import cgroups, mounts, proc_files

MOUNTINFO = rb"""22 1 0:20 / / rw - ext4 /dev/vda rw
30 22 0:26 / /run/crishim rw - tmpfs run rw
31 30 0:27 / /run/crishim/pods/a/shm rw - tmpfs shm rw
32 30 0:28 / /run/crishim/pods/ab/shm rw - tmpfs shm rw
33 31 0:29 / /run/crishim/pods/a/shm/deeper rw - tmpfs shm rw
34 30 0:4 net:[4026532178] /run/crishim/pods/a/net rw - nsfs nsfs rw
35 30 0:30 / /run/with\040space/x rw - tmpfs x rw
36 30 0:31 / /run/with\134slash/x rw - tmpfs x rw
"""


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Files of /proc by path."""
    files = {"/proc/self/mountinfo": MOUNTINFO, "/proc/self/cgroup": b"2:memory:/a:b\n0::/c\n"}
    monkeypatch.setattr(proc_files, "read", lambda path: files[path])
    return files


@pytest.mark.parametrize(
    ("directory", "found"),
    [
        ("/run/crishim/pods/a", ["pods/a/net", "pods/a/shm/deeper", "pods/a/shm"]),
        ("/run/crishim/pods/a/", ["pods/a/net", "pods/a/shm/deeper", "pods/a/shm"]),
        ("/run/crishim/pods/a/shm", ["pods/a/shm/deeper", "pods/a/shm"]),
        ("/run/crishim/none", []),
    ],
)
def test_innermost_and_newest_first(reads: dict[str, bytes], directory: str, found: list[str]) -> None:
    assert mounts.below(directory) == [f"/run/crishim/{name}" for name in found]


@pytest.mark.parametrize("name", ["/run/with space", "/run/with\\slash"])
def test_names_that_are_escaped_in_the_table(reads: dict[str, bytes], name: str) -> None:
    assert mounts.below(name) == [f"{name}/x"]


def test_every_mount_is_below_the_root(reads: dict[str, bytes]) -> None:
    assert len(mounts.below("/")) == 8


def test_hierarchies_are_looked_for_again_when_one_comes(
    reads: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when this process is in another group, or pods come."""
    looked: list[Any] = []

    def table() -> list[mounts.MountPoint]:
        looked.append(1)
        text = "".join(f"1 1 0:1 / {cgroups.ROOT}/{name} rw - cgroup cgroup rw\n" for name in ["memory", "cpu"])
        return mounts.parse_mountinfo(text)

    monkeypatch.setattr(mounts, "table", table)
    cgroups._mounted.cache_clear()
    expected = {name: Path(cgroups.ROOT, name) for name in ("memory", "cpu")}
    assert cgroups.hierarchies() == cgroups.hierarchies() == expected
    reads["/proc/self/cgroup"] = b"2:memory:/other\n0::/\n"
    cgroups.hierarchies()["memory"] = Path("/changed")
    assert cgroups.hierarchies() == expected
    assert len(looked) == 1
    reads["/proc/self/cgroup"] = b"3:cpu:/\n2:memory:/other\n0::/\n"
    assert cgroups.hierarchies() == expected
    assert len(looked) == 2
    cgroups._mounted.cache_clear()
