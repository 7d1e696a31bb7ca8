"""A container's log. conmon opens it as root, follows symbolic links and waits at a FIFO, in a directory that pods may
write to: one with a hostPath of the node's logs can put there what it likes, also after we have looked.

So conmon opens nothing in that directory. The file is made and opened here, a name at a time, where nothing is followed
or waited for; a mount of that very file stands in a directory only root may enter, and there conmon finds it by a
symbolic link of ours:

    roots/ID/log-file             the mount
    roots/ID/log/NAME             the link, for the start
    roots/ID/log/NAME.tmp         for a reopening: conmon opens it and renames it to NAME, so a link that is gone is
                                  a reopening that is done

Not on a tmpfs: a kubelet (cAdvisor) takes each mount of one for a file system of its own, looks for the node's state in
any of those that share its device number, and its statistics fail when ours is gone. There the link names the file
itself, and what replaces it between our look and conmon's is opened.
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
    """A file held (O_PATH); closed when nobody has it any more, as when its opening came too late for the caller."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    __del__ = close


def open_file(top: str, log_path: str, *, anew: bool) -> File:
    """The log's file, made if it is not there. top: the pod's log directory, above it.

    anew: another file in place of the one that has the name, in a directory that is there already; else missing
    directories are made, mode 0755. INVALID if a symbolic link is on the way from top down, or if anything but a
    regular file has the name; PRECONDITION if the directory is not there, EXHAUSTED on a full disk. Blocks.
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
    """A file of this name, there or not."""
    try:
        return _made(directory, name)
    except FileExistsError:
        found = File(os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory))
    if not stat.S_ISREG(os.fstat(found.fd).st_mode):
        raise OSError(errno.EINVAL, "no regular file", name)
    return found


def _replaced(directory: int, path: Path) -> File:
    """A new file, which has the log's name from now on."""
    beside = f"{path.name}.tmp"
    for name in (path.name, beside):
        if not _is_free(directory, name):
            raise OSError(errno.EINVAL, "no regular file", str(path.with_name(name)))
    if os.access(beside, os.F_OK, dir_fd=directory, follow_symlinks=False):  # of a daemon that died right here
        os.unlink(beside, dir_fd=directory)
    made = _made(directory, beside)
    os.rename(beside, path.name, src_dir_fd=directory, dst_dir_fd=directory)
    return made


def _is_free(directory: int, name: str) -> bool:
    """Whether nothing has this name but maybe a file that can be replaced."""
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return True


def _made(directory: int, name: str) -> File:
    made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE, dir_fd=directory)
    return File(made)


def link_file(file: File, log_path: str, link: Path) -> bool:
    """Make link lead to a file: what conmon opens next. False if the link is there: an earlier one waits for conmon.

    log_path: where the file lies. Blocks.
    """
    _remove_older(link.parent)
    directories.own(link.parent)
    target = Path(log_path)
    if not mounts.is_tmpfs(file.fd):
        target = link.parent.with_name(_MOUNT)
        mounts.unmount(target)  # who has the last one open keeps it
        target.touch(0o600)
        mounts.bind(f"/proc/self/fd/{file.fd}", target)
        mounts.mount("", "", target, flags=mounts.MS_REMOUNT | mounts.MS_BIND | _FENCES)
    try:
        link.symlink_to(target)
    except FileExistsError:
        return False
    return True


def unlink_file(root: Path) -> None:
    """Take away what link_file() made in a container's directory, and what an older version did. Blocks."""
    mounts.unmount(root / _MOUNT)
    (root / _MOUNT).unlink(missing_ok=True)
    _remove_older(root / _LINKS)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(root / _LINKS)


def _remove_older(directory: Path) -> None:
    """An older version's directory: a mount of the one the log lies in, or a link to that."""
    mounts.unmount(directory)
    if directory.is_symlink():
        directory.unlink()


def place(root: Path, log_path: str) -> Path:
    """Where conmon finds the log of a container whose directory is root."""
    return root / _LINKS / Path(log_path).name
