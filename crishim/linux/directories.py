"""Makes directories, each with an explicit mode; no other module does (tests/unit/linux/test_directories.py). mkdir(2).

mkdir's mode is reduced by the umask and does not change a directory that exists; pathlib's parents=True gives the
parents 0755 whatever the child's mode is (containerd had that as CVE-2021-41103).
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

PRIVATE = 0o700
PASSAGE = 0o711  # may be passed through but not listed; what is below has its own mode
PUBLIC = 0o755
_GROUPS = 0o710
ATTEMPTS = 10


def own(path: Path, mode: int = PRIVATE, *, group: int | None = None) -> None:
    """Make a directory of ours, or correct the mode and group of an existing one. Its parent must exist.

    group: the host gid of a user namespace's root, the only one that may pass then (0710; the owner stays root). The
    mode is never wider than asked for, not even while the directory is being made.
    """
    if group is not None:
        mode = _GROUPS
    try:
        os.mkdir(path, PRIVATE)  # noqa: PTH102
    except FileExistsError:
        if not path.is_dir():
            raise
    status = path.stat()
    if group is not None and status.st_gid != group:
        path.chmod(PRIVATE)
        os.chown(path, -1, group)
        status = path.stat()
    if stat.S_IMODE(status.st_mode) != mode:
        path.chmod(mode)


def make_new(path: Path, mode: int = PRIVATE) -> None:
    """Make a new directory. FileExistsError if it exists."""
    os.mkdir(path, PRIVATE)  # noqa: PTH102
    if mode != PRIVATE:
        path.chmod(mode)


def make_missing(path: Path, mode: int) -> None:
    """Make a directory that is not ours, and its missing parents, all with this mode; existing ones are not changed.

    One that is removed meanwhile is made again, ATTEMPTS times at most; then FileNotFoundError.
    """
    for attempts_left in reversed(range(ATTEMPTS)):
        try:
            _make_missing(path, mode)
        except FileNotFoundError:
            if not attempts_left:
                raise
        else:
            return


def _make_missing(path: Path, mode: int) -> None:
    lacking = [path]
    while not os.path.lexists(lacking[-1]):
        lacking.append(lacking[-1].parent)
    _check_directory(lacking[-1])
    for directory in reversed(lacking[:-1]):
        try:
            make_new(directory, mode)
        except FileExistsError:
            _check_directory(directory)


def _check_directory(path: Path) -> None:
    """NotADirectoryError for a file or a dangling symlink, FileNotFoundError if it has just been removed."""
    if not path.is_dir():
        path.lstat()
        raise NotADirectoryError(20, os.strerror(20), str(path))


def open_below(top: Path, parts: Sequence[str], *, make: bool) -> int:
    """Open a directory below top, a name at a time, without following a symbolic link from top's own name on.

    make: what is missing below top, mode 0755. The caller closes the descriptor. OSError names the path it failed at.
    """
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(top, flags)
    path = top
    for name in parts:
        path /= name
        try:
            made = make and _make_at(fd, name)
            below = os.open(name, flags, dir_fd=fd)
            if made:
                os.chmod(f"/proc/self/fd/{below}", PUBLIC)  # noqa: PTH101
        except OSError as error:
            error.filename = str(path)
            raise
        finally:
            os.close(fd)
        fd = below
    return fd


def _make_at(directory: int, name: str) -> bool:
    """Returns whether it was made; False if it exists."""
    try:
        os.mkdir(name, PRIVATE, dir_fd=directory)
    except FileExistsError:
        return False
    return True


def entries(path: Path) -> list[Path]:
    """What is in a directory, sorted; nothing if it cannot be listed."""
    try:
        return sorted(path.iterdir())
    except OSError:
        return []
