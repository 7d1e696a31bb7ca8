"""Directories: what each function makes, and that nobody makes one another way."""

import ast
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import crishim
from crishim.linux import directories

PRODUCT = Path(crishim.__file__).parent
HOME = "linux/directories.py"
MAKERS = {"mkdir", "makedirs", "mkdtemp", "TemporaryDirectory", "copytree"}


@pytest.fixture(autouse=True, params=[0, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever the process has inherited."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_own(tmp_path: Path) -> None:
    """Made with the mode, and set right where it is there with another; what is in it stays."""
    path = tmp_path / "d"
    for wanted in (0o700, 0o711, 0o755, 0o700):
        directories.own(path, wanted)
        assert mode(path) == wanted
        (path / "file").touch()
    with pytest.raises(FileNotFoundError):
        directories.own(tmp_path / "no/d")
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        directories.own(tmp_path / "file")


def test_own_with_a_group(tmp_path: Path) -> None:
    """The group passes and cannot list; taking it away closes the directory."""
    path = tmp_path / "d"
    group = 4242 if os.geteuid() == 0 else os.getgid()
    directories.own(path, group=group)
    assert (mode(path), path.stat().st_gid) == (0o710, group)
    directories.own(path)
    assert mode(path) == 0o700


def test_make_new(tmp_path: Path) -> None:
    directories.make_new(tmp_path / "d", 0o755)
    assert mode(tmp_path / "d") == 0o755
    with pytest.raises(FileExistsError):
        directories.make_new(tmp_path / "d")


def test_make_missing(tmp_path: Path) -> None:
    """Parents get the mode too; what is there keeps its own, also through a symlink."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs").chmod(0o750)
    (tmp_path / "link").symlink_to("theirs")
    directories.make_missing(tmp_path / "link/a/b", 0o755)
    directories.make_missing(tmp_path / "theirs/a", 0o700)
    assert {p.name: mode(p) for p in (tmp_path / "theirs").rglob("*")} == {"a": 0o755, "b": 0o755}
    assert mode(tmp_path / "theirs") == 0o750
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        directories.make_missing(tmp_path / "file/x", 0o755)
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(NotADirectoryError):
        directories.make_missing(tmp_path / "dangling/x", 0o755)


@pytest.mark.parametrize(("times", "made"), [(1, True), (3, True), (99, False)])
def test_make_missing_while_a_parent_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, *, made: bool
) -> None:
    """It is made again, not for ever."""
    real = os.mkdir
    removed: list[Path] = []

    def mkdir(path: Path, *arguments: int) -> None:
        if path.name == "b" and len(removed) < times:
            path.parent.rmdir()
            removed.append(path)
        real(path, *arguments)

    monkeypatch.setattr(os, "mkdir", mkdir)
    with contextlib.nullcontext() if made else pytest.raises(FileNotFoundError):
        directories.make_missing(tmp_path / "a/b", 0o755)
    assert (tmp_path / "a/b").is_dir() is made
    assert len(removed) == min(times, directories.ATTEMPTS)


def test_open_below(tmp_path: Path) -> None:
    """What is missing is made 0755 if it is to be; a symlink at any name, the top's too, is refused and named."""
    with pytest.raises(FileNotFoundError) as missing:
        directories.open_below(tmp_path, ("a", "b"), make=False)
    assert missing.value.filename == str(tmp_path / "a")
    os.close(directories.open_below(tmp_path, ("a", "b"), make=True))
    assert [mode(tmp_path / n) for n in ("a", "a/b")] == [0o755] * 2
    (tmp_path / "a").chmod(0o750)
    os.close(directories.open_below(tmp_path, ("a", "b"), make=True))
    assert mode(tmp_path / "a") == 0o750
    (tmp_path / "link").symlink_to("a")
    before = len(os.listdir("/proc/self/fd"))
    for top, parts in ((tmp_path, ("link", "b")), (tmp_path / "link", ("b",)), (tmp_path, ("a", "b", "..", "x"))):
        with pytest.raises(OSError):
            directories.open_below(top, parts, make=False)
    assert len(os.listdir("/proc/self/fd")) == before


def test_entries(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).touch()
    assert directories.entries(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert directories.entries(tmp_path / "a") == directories.entries(tmp_path / "missing") == []


def test_nobody_else_makes_directories() -> None:
    """Each call that makes one stands in directories.py, so that no mode is left to chance."""
    found = []
    for path in sorted(PRODUCT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Attribute | ast.Name):
                continue
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            if name in MAKERS and str(path.relative_to(PRODUCT)) != HOME:
                found.append(f"{path.relative_to(PRODUCT)}:{node.lineno}: {name}")
    assert found == []
