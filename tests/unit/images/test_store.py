"""Lookups in a snapshot, and the cache over the store's files."""

import json
from pathlib import Path

import pytest

from crishim.errors import CrishimError, Kind
from crishim.images.records import big_data_file
from crishim.images.store import ImageStore

IDS = ["abc1" + "0" * 60, "abc2" + "0" * 60, "beef" + "0" * 60]
DIGEST = "sha256:" + "d" * 64


def write(root: Path, names: dict[str, list[str]], layers: bool = True) -> None:
    """A store with one layer and an image for each id."""
    images = []
    for id, tags in names.items():
        keys = ["sha256:" + id, "manifest-" + DIGEST]
        directory = root / "overlay-images" / id
        directory.mkdir(parents=True, exist_ok=True)
        (directory / big_data_file(keys[0])).write_text("{}")
        images.append({"id": id, "names": tags, "layer": "f" * 64, "big-data-names": keys})
    for name, content in {
        "overlay-images/images.json": images,
        "overlay-layers/layers.json": [{"id": "f" * 64, "diff-size": 10}] if layers else [],
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".tmp").write_text(json.dumps(content))
        path.with_suffix(".tmp").rename(path)


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    names = [["docker.io/library/beef:latest"], ["quay.io/a:1", "quay.io/b:2"], []]
    write(tmp_path, dict(zip(IDS, names, strict=True)))
    return ImageStore(tmp_path)


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("beef", IDS[0]),  # a name before an id prefix
        ("beef0", IDS[2]),
        ("sha256:beef", IDS[2]),
        ("sha256:" + IDS[1], IDS[1]),
        (IDS[1], IDS[1]),
        ("abc2", IDS[1]),
        ("quay.io/a:1", IDS[1]),
        ("quay.io/b@" + DIGEST, IDS[1]),
        ("quay.io/b:other@" + DIGEST, IDS[1]),
        ("quay.io/a", None),
        ("be", None),  # too short for an id
        ("sha256:", None),
        ("", None),
        ("sha512:" + "0" * 128, None),
        ("Beef", None),
    ],
)
async def test_lookup(store: ImageStore, text: str, id: str | None) -> None:
    """An image is found by tag, digest, id, and an unambiguous beginning of its id."""
    found = await store.find(text)
    assert (found.id if found else None) == (f"sha256:{id}" if id else None)


async def test_ambiguous_prefix(store: ImageStore) -> None:
    """A prefix of two ids is INVALID, not one of them."""
    with pytest.raises(CrishimError) as caught:
        await store.find("abc")
    assert caught.value.kind is Kind.INVALID


async def test_unchanged_files_are_not_read_again(store: ImageStore, tmp_path: Path) -> None:
    """The same snapshot is given until a file is replaced; records of images that stay are equal."""
    first = await store.snapshot()
    assert await store.snapshot() is first
    write(tmp_path, {IDS[1]: ["quay.io/a:1"]})
    second = await store.snapshot()
    assert [i.repo_tags for i in second.images] == [("quay.io/a:1",)]


async def test_image_without_its_layer_is_left_out(store: ImageStore, tmp_path: Path) -> None:
    """An image whose layers are gone is being removed: it is not shown."""
    write(tmp_path, {IDS[1]: ["quay.io/a:1"]}, layers=False)
    assert (await store.snapshot()).images == ()


async def test_no_store_yet(tmp_path: Path) -> None:
    """A root without records is a store without images."""
    assert (await ImageStore(tmp_path / "none").snapshot()).images == ()
