"""Batches of the Stream* lists."""

from hypothesis import given
from hypothesis import strategies as st

from crishim.cri import batches as module
from crishim.cri.batches import BYTES, batches
from crishim.pb import cri_pb2 as cri


def image(weight: int) -> cri.Image:
    return cri.Image(id="x" * weight)


def test_an_empty_list_has_no_batch() -> None:
    """No items, no message: the client sees the end at once."""
    assert list(batches([])) == []


@given(st.lists(st.integers(0, 300)), st.integers(1, 7))
def test_every_item_once_in_order_and_never_too_many(weights: list[int], size: int) -> None:
    """Joined, the batches are the list; none is empty or longer than asked for."""
    items = [image(w) for w in weights]
    found = [list(b) for b in batches(items, size)]
    assert [i for b in found for i in b] == items
    assert all(1 <= len(b) <= size for b in found)


def test_large_items_are_split_by_bytes() -> None:
    """Forty items of 1 MiB do not go in one message; one that is larger than the bound goes alone."""
    items = [image(1 << 20) for _ in range(40)] + [image(BYTES + 1), image(1)]
    found = list(batches(items))
    assert sum(len(b) for b in found) == 42
    assert all(sum(i.ByteSize() for i in b) <= BYTES or len(b) == 1 for b in found)
    assert module.BYTES < 16 << 20
