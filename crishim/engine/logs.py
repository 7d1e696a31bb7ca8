"""Open a container's log safely. conmon opens it as root, follows symbolic links and blocks on a FIFO, in a directory
that a pod with a hostPath of the node's logs can write to, also after we have checked it.

So conmon opens nothing in that directory. The file is created and opened here, one path component at a time, without
following links or blocking; it is bind-mounted in a directory only root may enter, where conmon opens it by a symbolic
link of ours:

    roots/ID/log-file             the mount
    roots/ID/log/NAME             the link, for the start
    roots/ID/log/NAME.tmp         for a reopening: conmon opens it and renames it to NAME, so the reopening is done
                                  when it is gone

Not on a tmpfs: the kubelet (cAdvisor) takes each mount of a tmpfs for a file system of its own, uses any of those with
the device number of the node's state, and its statistics fail when ours is unmounted. There the link points to the file
itself, and a file that replaces it after our check is opened.
"""

import contextlib
import errno
import os
import shutil
import stat
from pathlib import Path

from crishim.errors import CrishimError, Kind
from crishim.linux import directories, files, mounts, pod_paths

_LINKS, _MOUNT = "log", "log-file"
_MODE = 0o640  # as conmon's own
_FENCES = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC


class File:
    """An open file (O_PATH); also closed when garbage-collected, if its caller was cancelled before it got it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    __del__ = close


def open_file(top: str, log_path: str, *, anew: bool) -> File:
    """Open the log's file, created if it does not exist. top: the pod's log directory.

    anew: replace the file by a new one, in an existing directory; else missing directories are made, mode 0755. Raises
    INVALID if a symbolic link is in the path below top, or the name is no regular file's; PRECONDITION if the directory
    does not exist, EXHAUSTED on a full disk. Blocks.
    """
    path = Path(log_path)
    top_path = Path(top) if top and path.is_relative_to(top) else path.parent
    pod_paths.looking_at(str(path.parent))
    directory = -1
    try:
        if not anew:
            directories.make_missing(top_path, directories.PUBLIC)
        directory = directories.open_below(top_path, path.parent.relative_to(top_path).parts, make=not anew)
        pod_paths.looking_at(log_path)
        return _replaced(directory, path) if anew else _opened(directory, path.name)
    except OSError as error:
        kind = Kind.EXHAUSTED if error.errno in files.FULL else Kind.INVALID
        kind = Kind.PRECONDITION if isinstance(error, FileNotFoundError) else kind
        text = f"the log {path} cannot be used: {error.strerror} at {error.filename}"
        raise CrishimError(kind, text, path=log_path) from error
    finally:
        if directory >= 0:
            os.close(directory)


def _opened(directory: int, name: str) -> File:
    """Open the file of this name, created if it does not exist."""
    try:
        return _made(directory, name)
    except FileExistsError:
        found = File(os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory))
    if not stat.S_ISREG(os.fstat(found.fd).st_mode):
        raise OSError(errno.EINVAL, "no regular file", name)
    return found


def _replaced(directory: int, path: Path) -> File:
    """Create a new file and rename it to the log's name."""
    temporary = f"{path.name}.tmp"
    for name in (path.name, temporary):
        if not _is_free(directory, name):
            raise OSError(errno.EINVAL, "no regular file", str(path.with_name(name)))
    if os.access(temporary, os.F_OK, dir_fd=directory, follow_symlinks=False):  # of a daemon that was killed right here
        os.unlink(temporary, dir_fd=directory)
    made = _made(directory, temporary)
    os.rename(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
    return made


def _is_free(directory: int, name: str) -> bool:
    """Whether the name is free, or a regular file's, which can be replaced."""
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return True


def _made(directory: int, name: str) -> File:
    made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE, dir_fd=directory)
    return File(made)


def link_file(file: File, log_path: str, link: Path) -> bool:
    """Make the link that conmon opens next point to a file. False if it exists: conmon has not opened an earlier one
    yet.

    log_path: the file's path. Blocks.
    """
    _remove_older(link.parent)
    directories.own(link.parent)
    target = Path(log_path)
    if not mounts.is_tmpfs(file.fd):
        target = link.parent.with_name(_MOUNT)
        mounts.unmount(target)  # conmon keeps the last one open
        target.touch(0o600)
        mounts.bind(f"/proc/self/fd/{file.fd}", target)
        mounts.mount("", "", target, flags=mounts.MS_REMOUNT | mounts.MS_BIND | _FENCES)
    try:
        link.symlink_to(target)
    except FileExistsError:
        return False
    return True


def unlink_file(root: Path) -> None:
    """Remove what link_file(), or an older version, made in a container's directory. Blocks."""
    mounts.unmount(root / _MOUNT)
    (root / _MOUNT).unlink(missing_ok=True)
    _remove_older(root / _LINKS)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(root / _LINKS)


def _remove_older(directory: Path) -> None:
    """Remove an older version's mount of the log's directory, or link to it."""
    mounts.unmount(directory)
    if directory.is_symlink():
        directory.unlink()


def place(root: Path, log_path: str) -> Path:
    """The link by which conmon opens a container's log. root: the container's directory."""
    return root / _LINKS / Path(log_path).name
