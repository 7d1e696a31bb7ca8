"""The store's records."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.images import records
from crishim.images.records import StoredImage, StoredLayer

A, B, C = "a" * 64, "b" * 64, "c" * 64
ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def layers(*items: StoredLayer) -> dict[str, StoredLayer]:
    return {layer.id: layer for layer in items}


def test_chain_is_topmost_first() -> None:
    """The chain follows the parents from the top down."""
    found = layers(StoredLayer(A), StoredLayer(B, parent=A), StoredLayer(C, parent=B))
    assert records.layer_chain(C, found) == (C, B, A)
    assert records.layer_chain("", found) == ()


@pytest.mark.parametrize(
    "found",
    [
        layers(StoredLayer(B, parent=A)),
        layers(StoredLayer(A, flags={"incomplete": True}), StoredLayer(B, parent=A)),
        layers(StoredLayer(A, parent=B), StoredLayer(B, parent=A)),
    ],
)
def test_broken_chain_is_none(found: dict[str, StoredLayer]) -> None:
    """A missing or incomplete layer, or a circle, makes the image none."""
    assert records.layer_chain(B, found) is None


def test_unknown_fields_are_ignored() -> None:
    """Records of newer versions are read; an empty file is an empty list."""
    text = (
        b'[{"id": "x", "names": ["a/b:c"], "new-field": {"deep": [1]}, "big-data-names": ["manifest"], "flags": null}]'
    )
    assert records.decode_images(text)[0].names == ["a/b:c"]
    assert records.decode_images(b"") == []
    assert records.decode_layers(b"\n") == []
    assert records.decode_layers(b'[{"id": "x", "diff-size": -1, "uidset": [0]}]')[0].diff_size == -1


def test_config_key() -> None:
    """The configuration is the big data named by the image's id, or the only one named by a digest."""
    assert StoredImage(A, big_data_names=["manifest", "sha256:" + A]).config_key == "sha256:" + A
    assert StoredImage(A, big_data_names=["manifest", ONE]).config_key == ONE
    assert StoredImage(A, big_data_names=["manifest", "manifest-" + ONE]).config_key == ""


def test_digest_name_stands_for_itself() -> None:
    """An image pulled by digest has that digest only, whatever other manifests the store holds of it."""
    image = StoredImage(A, names=["quay.io/a@" + ONE])
    assert records.repo_digests(image, [TWO]) == ("quay.io/a@" + ONE,)


def test_each_repository_gets_the_digests() -> None:
    """Tags give one digest reference for each repository and digest, once."""
    image = StoredImage(A, names=["quay.io/a:1", "quay.io/a:2", "host:5000/b:1", "quay.io/a@" + ONE])
    assert records.repo_digests(image, [ONE]) == ("quay.io/a@" + ONE, "host:5000/b@" + ONE)


def test_nameless_image_keeps_its_former_digest() -> None:
    """An image that lost its tag is known by the repository it came from."""
    image = StoredImage(A, names=[], names_history=["quay.io/a:1"])
    assert records.repo_digests(image, [ONE]) == ("quay.io/a@" + ONE,)
    record = records.image_record(
        StoredImage(A, names_history=["quay.io/a:1"], big_data_names=["sha256:" + A]), [], {}, b"{}", [ONE], []
    )
    assert record.repo_tags == ()
    assert record.size > 0


def test_size_is_layers_and_records() -> None:
    """The size counts the unpacked layers and the big data; unknown sizes count nothing."""
    image = StoredImage(A, big_data_names=["sha256:" + A], big_data_sizes={"sha256:" + A: 100, "x": -1})
    found = layers(StoredLayer(A, diff_size=1000), StoredLayer(B, parent=A, diff_size=-1))
    assert records.image_record(image, (B, A), found, b"", [], []).size == 1100


@pytest.mark.parametrize(
    ("pattern", "pinned"), [("registry.k8s.io/pause:*", True), ("*/pause:*", True), ("pause*", False)]
)
def test_pinned_patterns(pattern: str, pinned: bool) -> None:
    """Patterns match whole names."""
    image = StoredImage(A, names=["registry.k8s.io/pause:3.10"], big_data_names=["sha256:" + A])
    assert records.image_record(image, [], {}, b"", [], [pattern]).pinned is pinned


def test_index_or_manifest() -> None:
    """An index is told by its media type, or by its list of manifests where it has none."""
    assert records.is_index(b'{"mediaType": "application/vnd.docker.distribution.manifest.list.v2+json"}')
    assert records.is_index(b'{"schemaVersion": 2, "manifests": []}')
    assert not records.is_index(b'{"mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": []}')
    assert not records.is_index(b'{"schemaVersion": 2}')
    assert not records.is_index(b"\xff")


@given(st.text(min_size=1, max_size=50))
def test_big_data_file_is_one_name(key: str) -> None:
    """A plain key is its own file name, any other is = and base64; none has a slash but base64's own alphabet's."""
    name = records.big_data_file(key)
    if name.startswith("="):
        assert base64.b64decode(name[1:]).decode() == key
    else:
        assert name == key
        assert "/" not in name
