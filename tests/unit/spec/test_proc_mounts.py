"""What may lie over /proc, wherever symlinks lead."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.errors import CrishimError, Kind
from crishim.linux import paths
from crishim.linux.mounts import MountPoint
from crishim.spec.inputs import Draft
from crishim.spec.proc_mounts import Tree, check_proc_mounts, find_mount_over_proc

BASE = [("/proc", "proc", "proc"), ("/dev", "tmpfs", "tmpfs"), ("/sys", "sysfs", "sysfs")]


def check(make: Any, rootfs: Path, *mounts: tuple[str, str, str], cwd: str = "/") -> None:
    """mounts: (destination, type, source), after the base's."""
    spec = {"mounts": [{"destination": d, "type": t, "source": s} for d, t, s in (*BASE, *mounts)]}
    check_proc_mounts(Draft(spec=spec | {"process": {"cwd": cwd}}), make(rootfs=str(rootfs)))


FORBIDDEN = ["/proc", "/proc/", "/proc/self/fd", "/proc/self/attr/exec", "/proc/sys", "/a/../proc/1", "/proc/uptime/x"]
THROUGH = ["/absolute/self", "/relative/self", "/looks/harmless/self", "/twice/fd", "/dev/fd/3"]


@pytest.fixture
def links(rootfs: Path) -> Path:
    """A root file system whose symlinks lead to /proc."""
    (rootfs / "absolute").symlink_to("/proc")
    (rootfs / "relative").symlink_to("etc/../../../proc/.")
    (rootfs / "looks").mkdir()
    (rootfs / "looks/harmless").symlink_to("../absolute")
    (rootfs / "twice").symlink_to("absolute/self")
    return rootfs


@pytest.mark.parametrize("destination", [*FORBIDDEN, *THROUGH])
def test_refused(make: Any, links: Path, destination: str) -> None:
    """INVALID names the mount and where it leads."""
    for kind, source in (("bind", "/tmp"), ("tmpfs", "tmpfs")):
        with pytest.raises(CrishimError, match=r"^mount /") as caught:
            check(make, links, (destination, kind, source))
        assert caught.value.kind is Kind.INVALID


ALLOWED = [
    "/proc/cpuinfo",
    "/absolute/meminfo",
    "/proc/sys/kernel/ns_last_pid",
    "/procx",
    "/a/proc",
    "/etc/hosts",
    "/sys/x",
]


@pytest.mark.parametrize("destination", ALLOWED)
def test_allowed(make: Any, links: Path, destination: str) -> None:
    """What lxcfs puts its own over; what only looks like /proc."""
    check(make, links, (destination, "bind", "/tmp"))


def test_a_procfs_at_proc(make: Any, rootfs: Path) -> None:
    """The node's own is one, a part of it is not."""
    check(make, rootfs, ("/proc", "bind", "/proc"))
    with pytest.raises(CrishimError, match="nothing but a procfs"):
        check(make, rootfs, ("/proc", "bind", "/proc/sys"))


def test_a_symlink_in_another_volume(make: Any, rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A mount into a mount follows the links that lie there."""
    volume = tmp_path_factory.mktemp("volume")
    (volume / "link").symlink_to("/proc/self")
    check(make, rootfs, ("/v/link/fd", "bind", "/tmp"))
    with pytest.raises(CrishimError, match=r"^mount /v/link/fd \(which is /proc/self/fd\)"):
        check(make, rootfs, ("/v", "bind", str(volume)), ("/v/link/fd", "bind", "/tmp"))
    (rootfs / "there").symlink_to("/v/link")
    with pytest.raises(CrishimError, match="inside /proc"):
        check(make, rootfs, ("/v", "bind", str(volume)), ("/there/fd", "bind", "/tmp"))


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_an_image_whose_proc_is_a_symlink(make: Any, rootfs: Path, name: str) -> None:
    """CVE-2023-28642: the kernel's file system would be mounted elsewhere."""
    (rootfs / name).symlink_to("/etc")
    with pytest.raises(CrishimError, match=f"^mount /{name} .*symbolic link"):
        check(make, rootfs)


def test_links_that_go_round(make: Any, rootfs: Path) -> None:
    (rootfs / "a").symlink_to("b")
    (rootfs / "b").symlink_to("a")
    with pytest.raises(CrishimError, match="too many symbolic links"):
        check(make, rootfs, ("/a/x", "bind", "/tmp"))


@pytest.mark.parametrize(
    "cwd", ["/proc/self/fd/7", "/proc/1/root", "/dev/fd/8", "/twice/fd/7", "/etc/../proc/thread-self"]
)
def test_working_directories_of_a_process(make: Any, links: Path, cwd: str) -> None:
    """A descriptor the runtime has open would lead out of the container."""
    with pytest.raises(CrishimError, match=r"^the working directory"):
        check(make, links, cwd=cwd)
    check(make, links, cwd="/proc")


PATHS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join)
TARGETS = st.lists(st.sampled_from(["a", "b", "c", "..", "."]), min_size=1, max_size=4).map("/".join)


@given(
    directories=st.lists(PATHS, max_size=5),
    links=st.lists(st.tuples(PATHS, TARGETS, st.booleans()), max_size=4),
    path=st.lists(st.sampled_from(["a", "b", "c", ".."]), max_size=5).map("/".join),
)
def test_resolution_is_the_kernels(directories: list[str], links: list[tuple[str, str, bool]], path: str) -> None:
    """Where the kernel finds something in a tree, it is where resolve() says."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        top = Path(name)
        for directory in directories:
            (top / directory).mkdir(parents=True, exist_ok=True)
        for link, target, absolute in links:
            place = top / link
            # Not through a link that leads out of the tree: that would be another directory of the node's.
            inside = place.parent.is_dir() and os.path.realpath(place.parent) == str(place.parent)
            if inside and not os.path.lexists(place):
                place.symlink_to(f"/{target}" if absolute else target)
        try:
            fd = paths.open_in_root(top, path or ".", os.O_PATH)
        except OSError:
            return
        found = os.readlink(f"/proc/self/fd/{fd}")
        os.close(fd)
        assert str(top) + Tree(str(top)).resolve(f"/{path}").rstrip("/") == found


SPEC: dict[str, Any] = {
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
    "linux": {"maskedPaths": ["/proc/kcore", "/proc/acpi"], "readonlyPaths": ["/proc/sys"]},
}
USUAL = [
    MountPoint("/", "overlay", "overlay", frozenset(), ()),
    MountPoint("/proc", "proc", "proc", frozenset(), ()),
    MountPoint("/proc/kcore", "devtmpfs", "udev", frozenset(), (), "/null"),
    MountPoint("/proc/acpi", "tmpfs", "tmpfs", frozenset(), ()),
    MountPoint("/proc/sys", "proc", "proc", frozenset(), (), "/sys"),
    MountPoint("/proc/cpuinfo", "fuse.lxcfs", "lxcfs", frozenset(), (), "/proc/cpuinfo"),
    MountPoint("/processes", "ext4", "/dev/vda", frozenset(), (), "/data"),
]


@pytest.mark.parametrize(
    ("target", "fstype", "root"),
    [
        ("/proc", "ext4", "/"),
        ("/proc", "proc", "/sys"),
        ("/proc/sys", "tmpfs", "/"),
        ("/proc/self/attr", "proc", "/self/fd"),
        ("/proc/1/attr", "ext4", "/data"),
        ("/proc/sys/kernel", "ext4", "/"),
    ],
)
def test_what_was_mounted_is_looked_at(target: str, fstype: str, root: str) -> None:
    """What config.json has in /proc and nothing else; but a /proc of the node's comes with what is mounted in it."""
    more = [*USUAL, MountPoint(target, fstype, "x", frozenset(), (), root)]
    assert find_mount_over_proc(SPEC, USUAL) == ""
    assert find_mount_over_proc(SPEC, more) == f"{target} ({fstype})"
    own = SPEC | {"mounts": [{"destination": "/proc/", "type": "bind", "source": "/proc"}]}
    assert find_mount_over_proc(own, more) == ""


def test_a_path_the_kernel_would_not_take(tmp_path: Path) -> None:
    """An image's or a pod's working directory of any length is refused at once."""
    with pytest.raises(CrishimError, match="at most 4095") as caught:
        Tree(str(tmp_path)).resolve("/" + "a/" * 200_000)
    assert caught.value.kind is Kind.INVALID
