"""The user of an image."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.model import ImageRecord
from crishim.operations.list_images import default_user


def image(config: bytes) -> ImageRecord:
    return ImageRecord(id="sha256:0", repo_tags=(), repo_digests=(), size=1, config=config, layers=())


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, "")),
        ("0", (0, "")),
        ("65535:65535", (65535, "")),
        ("1000", (1000, "")),
        ("www-data", (None, "www-data")),
        ("www-data:33", (None, "www-data")),
        (":33", (0, "")),
        ("-1", (None, "-1")),
        ("4294967296", (None, "4294967296")),
        ("1" * 5000, (None, "1" * 5000)),  # more digits than int() takes
        ("\u0661", (None, "\u0661")),
        ("1a", (None, "1a")),
    ],
)
def test_user_forms(user: str, expected: tuple[int | None, str]) -> None:
    """A number is a uid, anything else a name; nothing is root; the group is left out."""
    assert default_user(image(json.dumps({"config": {"User": user}}).encode())) == expected


@pytest.mark.parametrize(
    "config", [b"", b"{", b"{}", b'{"config": null}', b'{"config": {"User": null}}', b'{"config": 1}']
)
def test_configuration_without_user(config: bytes) -> None:
    """No, null or unreadable configuration counts as one without a user."""
    assert default_user(image(config)) == (0, "")


@given(st.binary(max_size=100))
def test_exactly_one(config: bytes) -> None:
    """Of uid and name exactly one is set, whatever the configuration."""
    uid, name = default_user(image(config))
    assert (uid is None) == bool(name)
