"""Batches for the Stream* lists (1.36): at least one item a message, no message for an empty list. Bounded in items, so
that the first message is sent early, and in bytes: annotations may be large, and a client accepts 16 MiB at most.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from google.protobuf.message import Message

T = TypeVar("T", bound=Message)
SIZE = 100
BYTES = 4 << 20


def batches(items: Sequence[T], size: int = SIZE) -> Iterator[Sequence[T]]:
    """Split items into batches of at most `size` items and BYTES bytes; a larger item is a batch of its own."""
    batch: list[T] = []
    held = 0
    for item in items:
        weight = item.ByteSize()
        if batch and (len(batch) == size or held + weight > BYTES):
            yield batch
            batch, held = [], 0
        batch.append(item)
        held += weight
    if batch:
        yield batch
