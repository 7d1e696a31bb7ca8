"""Batches for the Stream* lists (1.36): at least one item a message, none for an empty list."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
SIZE = 100


def batches(items: Sequence[T], size: int = SIZE) -> Iterator[Sequence[T]]:
    """items in runs of at most `size`; nothing for no items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
