import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from crishim.linux import files, paths

IN_OPEN = 0x20  # inotify(7)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree beside which a secret lies."""
    (tmp_path / "secret").write_text("host")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/file").write_text("inside")
    return root


@pytest.mark.parametrize("link", ["/etc/file", "etc/file", "../../etc/file", "/../etc/file"])
def test_links_are_resolved_as_if_the_tree_were_the_root(root: Path, link: str) -> None:
    """Absolute links and ".." stay inside."""
    (root / "link").symlink_to(link)
    assert paths.read_in_root(root, "/link", 100) == b"inside"


@pytest.mark.parametrize("link", ["../secret", "/../secret", "/secret"])
def test_nothing_outside_can_be_read(root: Path, link: str) -> None:
    """A link to a file that only exists outside finds nothing."""
    (root / "link").symlink_to(link)
    with pytest.raises(FileNotFoundError):
        paths.read_in_root(root, "link", 100)


def test_a_magic_link_is_refused(root: Path) -> None:
    """/proc/self/root and its like lead out of any tree."""
    (root / "proc").symlink_to("/proc")
    with pytest.raises(OSError):
        paths.read_in_root("/", "/proc/self/root/etc/hostname", 100)


def test_only_regular_files_within_the_limit(root: Path) -> None:
    """A FIFO does not block, a directory and a file beyond the limit are refused."""
    os.mkfifo(root / "fifo")
    for path, number in (("fifo", errno.EINVAL), ("etc", errno.EINVAL)):
        with pytest.raises(OSError) as caught:
            paths.read_in_root(root, path, 100)
        assert caught.value.errno == number
    with pytest.raises(OSError) as caught:
        paths.read_in_root(root, "etc/file", 3)
    assert caught.value.errno == errno.EFBIG


READERS = {
    "in a root": lambda path: paths.read_in_root(path.parent, path.name, 100),
    "of the host": lambda path: files.read_regular(path, 100),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_what_is_no_regular_file_is_not_even_opened(root: Path, read: Callable[[Path], bytes]) -> None:
    """Opening a device may do something: inotify(7) tells of an open of a FIFO, and of none here."""
    os.mkfifo(root / "fifo")
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        assert libc.inotify_add_watch(watch, os.fsencode(root / "fifo"), IN_OPEN) > 0
        with pytest.raises(OSError, match="it is no regular file"):
            read(root / "fifo")
        with pytest.raises(BlockingIOError):
            os.read(watch, 4096)
        os.close(os.open(root / "fifo", os.O_RDONLY | os.O_NONBLOCK))
        assert os.read(watch, 4096)
    finally:
        os.close(watch)


def test_directories_come_back_as_host_paths(root: Path) -> None:
    """Resolved; a file is no directory."""
    (root / "link").symlink_to("/etc")
    assert paths.directory_in_root(root, "link") == str(root / "etc")
    with pytest.raises(NotADirectoryError):
        paths.directory_in_root(root, "etc/file")


def test_no_descriptor_is_left(root: Path) -> None:
    """Neither after success nor after an error."""
    before = len(os.listdir("/proc/self/fd"))
    paths.read_in_root(root, "etc/file", 100)
    paths.directory_in_root(root, "etc")
    files.read_regular(root / "etc/file", 100)
    calls: tuple[Callable[[], bytes], ...] = (
        lambda: paths.read_in_root(root, "no", 1),
        lambda: paths.read_in_root(root, "etc", 1),
        lambda: files.read_regular(root / "etc", 1),
        lambda: files.read_regular(root / "etc/file", 1),
    )
    for call in calls:
        with pytest.raises(OSError):
            call()
    assert len(os.listdir("/proc/self/fd")) == before
