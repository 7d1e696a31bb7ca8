"""Ids of pods and containers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.ids import is_id, is_prefix, new_id


def test_new_ids() -> None:
    """64 hex digits, another one each time."""
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(is_id(id) and is_prefix(id) for id in ids)


@pytest.mark.parametrize("text", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 63 + "/", "a" * 64 + "\n"])
def test_what_is_no_id(text: str) -> None:
    """Anything else is not taken for a file name of ours."""
    assert not is_id(text)


@given(st.text(max_size=70))
def test_prefixes(text: str) -> None:
    """A beginning of an id is 1 to 64 lower-case ASCII hex digits."""
    assert is_prefix(text) == (0 < len(text) <= 64 and set(text) <= set("0123456789abcdef"))
