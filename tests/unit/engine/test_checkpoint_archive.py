"""A checkpoint's archive: whose it must be, what may be in it, and that only what is asked for comes out of it."""

import os
import subprocess
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crishim.engine import checkpoint_archive
from crishim.engine.checkpoint_archive import opened, unpack
from crishim.errors import CrishimError, Kind
from tests.support.checkpoints import contents, entry, tar, write

LINK, HARD, CHAR, DIRECTORY = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's files are taken")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where an archive is expected: below kept/, which is root's alone."""
    return write(tmp_path / "kept/c.tar")


def unpacked(path: Path, tmp_path: Path) -> dict[str, bytes]:
    target = tmp_path / "target"
    target.mkdir()
    with opened(path.parent, str(path)) as archive:
        unpack(archive, target, threading.Event())
    return {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()}


def refused(path: Path, tmp_path: Path, kind: Kind = Kind.INVALID) -> str:
    with pytest.raises(CrishimError) as caught:
        unpacked(path, tmp_path)
    assert caught.value.kind is kind
    return caught.value.message


@needs_root
def test_only_what_is_needed_is_unpacked(path: Path, tmp_path: Path) -> None:
    """criu's images and the layer, as files of root's; not the log, nor what another tool added."""
    write(path, contents(**{"network.status": b"{}"}))
    files = unpacked(path, tmp_path)
    assert files.keys() == {"checkpoint/inventory.img", "checkpoint/pages-1.img", "rootfs-diff.tar"}
    assert files["checkpoint/pages-1.img"] == b"memory"
    assert (tmp_path / "target/checkpoint/pages-1.img").stat().st_mode & 0o7777 == 0o600


@needs_root
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write(path: Path, tmp_path: Path, mode: int) -> None:
    path.chmod(mode)
    assert str(path) in refused(path, tmp_path, Kind.DENIED)


@needs_root
def test_a_file_of_somebody_else(path: Path, tmp_path: Path) -> None:
    os.chown(path, 1000, 0)
    assert "root's alone" in refused(path, tmp_path, Kind.DENIED)


@needs_root
def test_a_directory_that_others_may_write(path: Path, tmp_path: Path) -> None:
    """Then they could put another archive of root's in the place of this one."""
    path.parent.chmod(0o777)
    assert str(path.parent) in refused(path, tmp_path, Kind.DENIED)


@needs_root
@pytest.mark.parametrize("name", ["../kept/c.tar", "link.tar", "linked/c.tar", "directory", "fifo", "", "a\0b"])
def test_paths_that_lead_elsewhere(path: Path, name: str) -> None:
    """Through links, out of the directory, to what is no file: a FIFO is not waited for."""
    (path.parent / "link.tar").symlink_to(path)
    (path.parent / "linked").symlink_to(path.parent)
    (path.parent / "directory").mkdir()
    os.mkfifo(path.parent / "fifo", 0o600)
    with pytest.raises(CrishimError) as caught, opened(path.parent, f"{path.parent}/{name}"):
        pass
    assert caught.value.kind is Kind.INVALID


@needs_root
def test_what_lies_elsewhere_or_nowhere(path: Path) -> None:
    for name, kind in (("/etc/passwd", Kind.DENIED), ("c.tar", Kind.DENIED), (f"{path}x", Kind.NOT_FOUND)):
        with pytest.raises(CrishimError) as caught, opened(path.parent, name):
            pass
        assert caught.value.kind is kind


@needs_root
@pytest.mark.parametrize("name", ["config.dump", "spec.dump", "rootfs-diff.tar", "checkpoint/inventory.img"])
def test_something_is_missing(path: Path, tmp_path: Path, name: str) -> None:
    write(path, {key: data for key, data in contents().items() if key != name})
    assert f"it has no {name}" in refused(path, tmp_path)


@needs_root
@pytest.mark.parametrize(
    ("name", "data"),
    [
        *(("config.dump", data) for data in (b"", b"[]", b"{}", b'{"id": 5}', b"\xff", b"[" * 100000)),
        *(("spec.dump", data) for data in (b"null", b"7", b"x" * (9 << 20))),
        *(("rootfs-diff.tar", data) for data in (b"x" * 1024, b"\x1f\x8b" + bytes(600))),
        ("deleted.files", b"[]"),
    ],
)
def test_descriptions_that_are_none(path: Path, tmp_path: Path, name: str, data: bytes) -> None:
    write(path, {**contents(), name: data})
    assert "no checkpoint that can be restored" in refused(path, tmp_path)


@needs_root
@pytest.mark.parametrize(
    "more",
    [
        entry("checkpoint/core-1.img", LINK, "/etc/shadow"),
        entry("checkpoint/core-1.img", HARD, "/etc/shadow"),
        entry("checkpoint/core-1.img", CHAR, devmajor=1, devminor=3),
        entry("checkpoint/../../../core-1.img", LINK, "x"),
        entry("checkpoint/sub/core-1.img"),
        entry("checkpoint/.hidden"),
        entry("spec.dump", LINK, "config.dump"),
        entry("fifo", tarfile.FIFOTYPE),
    ],
)
def test_entries_that_are_no_files_of_criu(path: Path, tmp_path: Path, more: Any) -> None:
    write(path, more=[more])
    assert "no regular file" in refused(path, tmp_path)


@needs_root
def test_names_that_lead_out_are_not_unpacked(path: Path, tmp_path: Path) -> None:
    """What is not named here is no file of ours, wherever it wants to be."""
    write(path, more=[entry("../escaped", data=b"x"), entry("/tmp/escaped-of-crishim", data=b"x")])
    assert len(unpacked(path, tmp_path)) == 3
    assert not (tmp_path / "escaped").exists()
    assert not Path("/tmp/escaped-of-crishim").exists()


@needs_root
@pytest.mark.parametrize(
    ("layer", "why"),
    [
        ([entry("/etc/passwd")], "leads out"),
        ([entry("./../x")], "leads out"),
        ([entry("a", LINK, "/etc"), entry("a/passwd")], "below a link"),
        ([entry("a", LINK, "/etc"), entry("./a//passwd")], "below a link"),
        ([entry("a", LINK, "/etc"), entry("b", HARD, "a/passwd")], "below a link"),
        ([entry("a", LINK, "/etc"), entry("b", HARD, "a"), entry("b/passwd")], "below a link"),
        ([entry("a", LINK, "/etc/passwd"), entry("a", data=b"x")], "a link as well"),
        ([entry("a", HARD, "/etc/passwd")], "leads out"),
        ([entry("a", HARD, "../../etc/passwd")], "leads out"),
        ([entry("a", CHAR, devmajor=1, devminor=1)], "a device"),
        ([entry("a", tarfile.BLKTYPE, devmajor=0, devminor=0)], "a device"),
        ([entry("a", b"V")], "of a type"),
    ],
)
def test_layers_that_lead_out(path: Path, tmp_path: Path, layer: list[Any], why: str) -> None:
    write(path, contents(layer))
    assert why in refused(path, tmp_path)


@needs_root
def test_a_layer_as_containers_write_it(path: Path, tmp_path: Path) -> None:
    """Directories, links to anywhere, hard links, a deleted file, a FIFO."""
    layer = [
        entry("./", DIRECTORY, mode=0o755),
        entry("./etc", DIRECTORY, mode=0o755),
        entry("./etc/link", LINK, "/../../etc/passwd"),
        entry("./etc/file", data=b"x"),
        entry("./etc/hard", HARD, "./etc/file"),
        entry("./gone", CHAR, devmajor=0, devminor=0),
        entry("./fifo", tarfile.FIFOTYPE),
    ]
    write(path, contents(layer))
    assert "rootfs-diff.tar" in unpacked(path, tmp_path)


@needs_root
def test_a_sparse_entry_takes_no_space(path: Path, tmp_path: Path) -> None:
    """One that claims an exbibyte is refused by the file system or has no blocks, and takes no time."""
    hole = tmp_path / "hole"
    with hole.open("wb") as file:
        file.truncate(1 << 40)
    for name, data in contents().items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    hole.rename(tmp_path / "in/checkpoint/pages-2.img")
    subprocess.run(["tar", "--sparse", f"--file={path}", f"--directory={tmp_path}/in", "-c", "."], check=True)
    path.chmod(0o600)
    target = tmp_path / "target"
    target.mkdir()
    with opened(path.parent, str(path)) as archive:
        unpack(archive, target, threading.Event())
    made = (target / "checkpoint/pages-2.img").stat()
    assert (made.st_size, made.st_blocks) == (1 << 40, 0)


@needs_root
def test_one_that_is_cut_off(path: Path, tmp_path: Path) -> None:
    """At whatever byte: nothing is taken for whole."""
    whole = path.read_bytes().rstrip(b"\0")
    for length in (0, 100, 511, 512, 600, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CrishimError) as caught, opened(path.parent, str(path)):
            pass
        assert caught.value.kind is Kind.INVALID


@needs_root
def test_nobody_waits_for_it_any_more(path: Path, tmp_path: Path) -> None:
    stopped = threading.Event()
    stopped.set()
    with opened(path.parent, str(path)) as archive, pytest.raises(CrishimError):
        unpack(archive, tmp_path, stopped)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_bytes(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Bytes changed anywhere give an archive or INVALID, nothing else."""
    path = tmp_path_factory.getbasetemp() / "any.tar"
    content = bytearray(tar([entry(name, data=value) for name, value in contents().items()]))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with path.open("rb") as file:
        try:
            checkpoint_archive.read(str(path), file)
        except CrishimError as error:
            assert error.kind is Kind.INVALID  # noqa: PT017
