"""What a sweep takes and what it leaves; the real store is in tests/node."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from crishim.errors import CrishimError, Kind
from crishim.images import garbage_collection
from crishim.images.garbage_collection import incomplete_images, remove_image, remove_orphans
from crishim.images.records import big_data_file

USED, BASE, ORPHAN, LOST = ("1" * 64, "2" * 64, "3" * 64, "4" * 64)
IMAGE, HALF = "a" * 64, "b" * 64


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image with two layers, an orphan with a link, a directory without a record, half an image."""
    for layer in (USED, BASE, ORPHAN, LOST):
        (tmp_path / "overlay" / layer / "diff/sub").mkdir(parents=True)
        (tmp_path / "overlay" / layer / "link").write_text("LINK" + layer[0])
    (tmp_path / "overlay/l").mkdir()
    for layer in (USED, BASE, ORPHAN):
        (tmp_path / "overlay/l" / ("LINK" + layer[0])).symlink_to(f"../{layer}/diff")
    (tmp_path / "overlay-layers").mkdir()
    layers = [{"id": USED, "parent": BASE, "extra": {"kept": 1}}, {"id": BASE}, {"id": ORPHAN, "parent": BASE}]
    (tmp_path / "overlay-layers/layers.json").write_text(json.dumps(layers))
    for layer in (USED, ORPHAN):
        (tmp_path / f"overlay-layers/{layer}.tar-split.gz").touch()
    (tmp_path / "overlay-images" / IMAGE).mkdir(parents=True)
    (tmp_path / "overlay-images" / IMAGE / big_data_file("sha256:" + IMAGE)).touch()
    keys = ["sha256:" + IMAGE]
    images = [{"id": IMAGE, "layer": USED, "big-data-names": keys}, {"id": HALF, "layer": BASE}]
    (tmp_path / "overlay-images/images.json").write_text(json.dumps(images))
    return tmp_path


def test_orphans_go_and_the_rest_stays(root: Path) -> None:
    """Layers without an image go with their link and records; used ones stay, unknown fields of theirs as well."""
    assert remove_orphans(root) == [ORPHAN, LOST]
    assert sorted(p.name for p in (root / "overlay").iterdir()) == [USED, BASE, "l"]
    assert sorted(p.name for p in (root / "overlay/l").iterdir()) == ["LINK1", "LINK2"]
    left = json.loads((root / "overlay-layers/layers.json").read_text())
    assert left == [{"id": USED, "parent": BASE, "extra": {"kept": 1}}, {"id": BASE}]
    assert not (root / f"overlay-layers/{ORPHAN}.tar-split.gz").exists()
    assert (root / f"overlay-layers/{USED}.tar-split.gz").exists()
    assert remove_orphans(root) == []


def test_half_images(root: Path) -> None:
    """An image record without configuration is half an image."""
    assert incomplete_images(root) == [HALF]


def test_broken_records_stop_the_sweep(root: Path) -> None:
    """If the images cannot be read, no layer is an orphan: nothing is touched."""
    (root / "overlay-images/images.json").write_text("[{")
    with pytest.raises(ValueError):
        remove_orphans(root)
    assert (root / "overlay" / ORPHAN).is_dir()


def test_hostile_link_name(root: Path) -> None:
    """A link file that names a path removes nothing outside."""
    (root / "overlay" / LOST / "link").write_text("../../keep")
    (root / "keep").touch()
    remove_orphans(root)
    assert (root / "keep").exists()


def test_empty_root(tmp_path: Path) -> None:
    """A store that was never used has nothing to sweep."""
    assert remove_orphans(tmp_path) == []
    assert incomplete_images(tmp_path) == []


@pytest.mark.parametrize("name", ["overlay-images/images.json", "overlay-layers/layers.json"])
def test_empty_records_stop_the_sweep(root: Path, name: str) -> None:
    """As a power cut leaves a file: it does not say that there are no images, and every layer an orphan."""
    layers = sorted((root / "overlay").iterdir())
    for content in (b"", b"\0" * 100):
        (root / name).write_bytes(content)
        with pytest.raises(ValueError, match="is empty"):
            remove_orphans(root)
    assert sorted((root / "overlay").iterdir()) == layers


def test_an_image_goes_with_what_nobody_else_needs(root: Path) -> None:
    """Its record, its data, its own layer; what another record needs stays, whole, and so does what no record tells of:
    that may be of another program's pull in the same store."""
    other = {"id": HALF, "layer": BASE, "names": ["a:1"], "more": [1]}
    path = root / "overlay-images/images.json"
    path.write_text(json.dumps([{"id": IMAGE, "layer": USED}, other]))
    before = (root / "overlay-images/images.lock", root / "overlay-layers/layers.lock")
    assert remove_image(root, IMAGE) == [USED]
    assert json.loads(path.read_text()) == [other]
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in (root / "overlay-images").iterdir() if p.is_dir()] == []
    assert sorted(p.name for p in (root / "overlay").iterdir()) == [BASE, ORPHAN, LOST, "l"]
    assert all(lock.stat().st_size == 64 for lock in before), "other processes are not told that records changed"
    marks = [lock.read_bytes() for lock in before]
    assert remove_image(root, IMAGE) == []
    assert [lock.read_bytes() for lock in before] == marks


def test_layers_for_user_namespaces(root: Path) -> None:
    """An image's mapped layers are its own as well: they stay and go with it."""
    path = root / "overlay-images/images.json"
    path.write_text(json.dumps([{"id": IMAGE, "layer": USED, "mapped-layers": [ORPHAN]}]))
    assert remove_orphans(root) == [LOST]
    assert remove_image(root, IMAGE) == [USED, BASE, ORPHAN]


@pytest.mark.parametrize("name", ["containers.json", "volatile-containers.json"])
def test_containers_of_another_program(root: Path, name: str) -> None:
    """Their layers are no orphans, recorded with the others or among the volatile ones; nor does their image go."""
    (root / "overlay-containers").mkdir()
    (root / "overlay-containers" / name).write_text(json.dumps([{"id": "c" * 64, "image": IMAGE, "layer": LOST}]))
    (root / "overlay-layers/volatile-layers.json").write_text(json.dumps([{"id": LOST, "parent": ORPHAN}]))
    assert remove_orphans(root) == []
    with pytest.raises(CrishimError, match="in use by container cccccccccccc of another program") as caught:
        remove_image(root, IMAGE)
    assert caught.value.kind is Kind.PRECONDITION
    assert remove_image(root, HALF) == []
    assert len(json.loads((root / "overlay-images/images.json").read_text())) == 1


def test_a_store_that_another_process_keeps(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DEADLINE says which lock; nothing is changed."""
    monkeypatch.setattr(garbage_collection, "LOCK_TIMEOUT", 0.05)
    path = root / "overlay-images/images.lock"
    script = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        records = (root / "overlay-images/images.json").read_text()
        with pytest.raises(CrishimError, match=r"images\.lock is locked by another process") as caught:
            remove_image(root, IMAGE)
        assert caught.value.kind is Kind.DEADLINE
        assert (root / "overlay-images/images.json").read_text() == records
        holder.communicate(b"\n")
    assert remove_image(root, IMAGE)
