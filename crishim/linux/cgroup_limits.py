"""A cgroup's limits as files: saved before a change, and restored if the change fails half-way. cgroups(7).

On v1 each controller has its own directory; on v2 one has all files.
"""

import contextlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from crishim.errors import CrishimError, Kind
from crishim.linux import cgroups

# Every file an update of a container's resources may change, unified keys aside.
_FILES = (
    "cpu.shares",
    "cpu.cfs_period_us",
    "cpu.cfs_quota_us",
    "cpu.weight",
    "cpu.idle",
    "cpu.max",
    "cpuset.cpus",
    "cpuset.mems",
    "memory.limit_in_bytes",
    "memory.memsw.limit_in_bytes",
    "memory.max",
    "memory.swap.max",
    "hugetlb.*.limit_in_bytes",
    "hugetlb.*.max",
)
_ROUNDS = 3  # some files limit one another (memory and memory+swap, quota and period): the order is found by trying
_FILE_NAME = re.compile(r"[a-z0-9_]+(\.[A-Za-z0-9_]+)+")
_PAGE_SIZE = re.compile(r"[0-9]+[KMG]B")

Saved = Mapping[Path, str]


def save(cgroup: str, unified: Iterable[str] = ()) -> Saved:
    """Read the limits of a group. unified: names of further v2 files. Blocks."""
    for name in unified:
        check_file_name(name)
    saved = {}
    for directory in cgroups.directories(cgroup):
        for pattern in (*_FILES, *unified):
            for path in directory.glob(pattern):
                with contextlib.suppress(OSError):
                    saved[path] = path.read_text().strip()
    return saved


def restore(saved: Saved) -> None:
    """Write saved limits. INTERNAL names a file that does not take its old value. Blocks."""
    left = {path: value for path, value in saved.items() if _reads(path) not in (value, None)}
    for _ in range(_ROUNDS):
        left = {path: value for path, value in left.items() if not _write(path, value)}
        if not left:
            return
    path = min(left)
    raise CrishimError(Kind.INTERNAL, f"{path} cannot be set back to {left[path]}", path=str(path))


def lift_cpu_quota(cgroup: str, period: int) -> None:
    """Remove the CPU quota, and set the period in microseconds unless it is 0. OSError if refused. Blocks."""
    for directory in cgroups.directories(cgroup):
        if (directory / "cpu.cfs_quota_us").exists():
            (directory / "cpu.cfs_quota_us").write_text("-1")
            if period:
                (directory / "cpu.cfs_period_us").write_text(str(period))
        if (directory / "cpu.max").exists():
            (directory / "cpu.max").write_text(f"max {period}" if period else "max")


def set_huge_pages(cgroup: str, limits: Mapping[str, int]) -> None:
    """Limit huge pages by size ({"2MB": bytes}), and reservations. PRECONDITION: a size that this host lacks."""
    directories = cgroups.directories(cgroup)
    for size, limit in limits.items():
        if not _PAGE_SIZE.fullmatch(size):
            raise CrishimError(Kind.INVALID, f"{size!r} is no huge page size")
        names = [f"hugetlb.{size}.{rsvd}{what}" for rsvd in ("", "rsvd.") for what in ("limit_in_bytes", "max")]
        paths = [d / name for d in directories for name in names if (d / name).exists()]
        if not paths:
            raise CrishimError(Kind.PRECONDITION, f"huge pages of {size} cannot be limited on this node")
        for path in paths:
            try:
                path.write_text(str(limit))
            except OSError as error:
                raise CrishimError(
                    Kind.PRECONDITION, f"huge pages of {size} cannot be limited to {limit}: {error.strerror}"
                ) from error


def check_file_name(name: str) -> None:
    """INVALID unless name is the plain name of a cgroup file."""
    if not _FILE_NAME.fullmatch(name):
        raise CrishimError(Kind.INVALID, f"{name!r} is no name of a cgroup file")


def thaw(cgroup: str) -> None:
    """Let a group's processes run, whoever froze them. Blocks."""
    for directory in cgroups.directories(cgroup):
        for name, value in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
            if (directory / name).exists():
                _write(directory / name, value)


def _reads(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _write(path: Path, value: str) -> bool:
    """Whether it was written, or is not there. An empty value (cpuset.cpus of v2: inherit) is written as a newline."""
    try:
        path.write_text(value or "\n")
    except OSError:
        return not path.exists()
    return True
