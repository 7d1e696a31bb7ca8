"""A container's log, opened by conmon, which is root and follows symbolic links, in a directory that pods may write to:
one with a hostPath of the node's logs can put a link there at any time, and conmon would write to what it names.

So conmon is given the log's directory through a mount of ours on which no symbolic link is followed and no device
opened (MS_NOSYMFOLLOW, mount(2)); the kernel holds to that at each open, reopenings included. The way down to it from
the pod's log directory is gone without following links either.

Not on a tmpfs: a kubelet (cAdvisor) takes each mount of one for a file system of its own, looks for the node's state in
any of those that share its device number, and its statistics fail when ours is gone. There only the look beforehand
keeps links out.
"""

import os
import stat
from pathlib import Path

from crishim.errors import CrishimError, Kind
from crishim.linux import directories, mounts, pod_paths


class Directory:
    """A directory held open; closed when nobody has it any more, as when its opening came too late for the caller."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    __del__ = close


def open_directory(top: str, log_path: str, *, make: bool) -> Directory:
    """The directory a log lies in, held open until it is closed. top: the pod's log directory, above it.

    make: what is missing, mode 0755. INVALID if a symbolic link is on the way from top down, or stands where conmon
    opens the log; PRECONDITION if the directory is not there. Blocks.
    """
    path = Path(log_path)
    top_path = Path(top) if top and path.is_relative_to(top) else path.parent
    pod_paths.looking_at(str(path.parent))
    try:
        if make:
            directories.make_missing(top_path, directories.PUBLIC)
        directory = Directory(directories.open_below(top_path, path.parent.relative_to(top_path).parts, make=make))
    except OSError as error:
        kind = Kind.PRECONDITION if isinstance(error, FileNotFoundError) else Kind.INVALID
        text = f"the log's directory {path.parent} cannot be used: {error.strerror} at {error.filename}"
        raise CrishimError(kind, text, path=log_path) from error
    for name in (path.name, f"{path.name}.tmp"):  # conmon reopens by writing beside and renaming
        _check_file(directory.fd, name, path)
    return directory


def _check_file(directory: int, name: str, log: Path) -> None:
    """INVALID if something is there that no log is. The mount would stop conmon too; this is for the error."""
    try:
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise CrishimError(Kind.INVALID, f"the log {log.with_name(name)} is there, and no regular file", path=str(log))


def mount_directory(directory: Directory, target: Path) -> None:
    """Mount a directory at target; nothing happens if it is there already. Blocks."""
    if _is_same(directory.fd, target):
        return
    mounts.unmount(target)  # another directory: somebody made the pod's anew
    if target.is_symlink():
        target.unlink()
    if mounts.is_tmpfs(directory.fd):
        target.symlink_to(Path(f"/proc/self/fd/{directory.fd}").readlink())
        return
    directories.own(target)
    mounts.bind(f"/proc/self/fd/{directory.fd}", target)
    fences = mounts.MS_NOSYMFOLLOW | mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
    mounts.mount("", "", target, flags=mounts.MS_REMOUNT | mounts.MS_BIND | fences)


def _is_same(directory: int, target: Path) -> bool:
    try:
        there, wanted = target.stat(), os.fstat(directory)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino)
