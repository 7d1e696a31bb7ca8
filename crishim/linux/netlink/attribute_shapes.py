"""A cache of netlink message layouts, so that attributes are unpacked in one call of C, in a third of the time.

A shape is the sequence of attribute lengths and types in a message; the kernel's answers repeat them. A seen shape is
kept as a compiled struct. A message matches if all its headers do, so the result is that of walk(). Pods can make new
shapes (by a name of another length), so their number is limited.
"""

import struct
from typing import NamedTuple

Attribute = tuple[int, bytes]
NLA_TYPE_MASK = 0x3FFF
LEAST = 64  # bytes; below that walk() is as fast
MOST_SHAPES, MOST_ALIKE = 512, 8
MOST_ATTRIBUTES = 128  # in a shape

_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type


class Shape(NamedTuple):
    """layout: of length, type and value of each attribute. types: without flags."""

    layout: struct.Struct
    lengths: tuple[int, ...]
    kinds: tuple[int, ...]
    types: tuple[int, ...]
    starts: tuple[int, ...]  # of the attributes, and the end of the last
    kept: dict[frozenset[int], list[slice]]  # what is left without attributes of these types


_shapes: dict[tuple[int, bytes], tuple[Shape, ...]] = {}  # by size and first header


def match(data: bytes) -> tuple[Shape, tuple[bytes, ...]] | None:
    """The shape of these attributes and their values; None if the shape is not known: use walk()."""
    for shape in _shapes.get((len(data), data[:4]), ()):
        found = shape.layout.unpack(data)
        if found[::3] == shape.lengths and found[1::3] == shape.kinds:
            return shape, found[2::3]
    return None


def walk(data: bytes) -> list[Attribute]:
    """The attributes one by one, types without flags. Stops at a malformed length."""
    found: list[Attribute] = []
    offset, size, unpack = 0, len(data), _ATTRIBUTE.unpack_from
    while offset + 4 <= size:
        length, kind = unpack(data, offset)
        if length < 4 or offset + length > size:
            break
        found.append((kind & NLA_TYPE_MASK, data[offset + 4 : offset + length]))
        offset += length + 3 & ~3
    return found


def learn(data: bytes) -> None:
    """Keep the shape of these attributes, if all data is attributes, at most MOST_ATTRIBUTES."""
    parts, lengths, kinds, starts, size = ["="], list[int](), list[int](), [0], len(data)
    while starts[-1] + 4 <= size:
        length, kind = _ATTRIBUTE.unpack_from(data, starts[-1])
        if length < 4 or starts[-1] + length > size or len(kinds) == MOST_ATTRIBUTES:
            return
        padding = min(-length % 4, size - starts[-1] - length)
        parts.append(f"HH{length - 4}s{padding}x")
        lengths.append(length)
        kinds.append(kind)
        starts.append(starts[-1] + length + padding)
    if len(_shapes) >= MOST_SHAPES:
        _shapes.clear()
    layout = struct.Struct("".join(parts) + f"{size - starts[-1]}x")
    types = tuple(kind & NLA_TYPE_MASK for kind in kinds)
    new = Shape(layout, tuple(lengths), tuple(kinds), types, tuple(starts), {})
    key = size, data[:4]
    _shapes[key] = (new, *_shapes.get(key, ()))[:MOST_ALIKE]  # "noop" and "noqueue" have the same padded size


def remainder(shape: Shape, without: frozenset[int]) -> list[slice]:
    """Where in a message of this shape the attributes of all other types are."""
    kept = shape.kept.get(without)
    if kept is None:
        kept = shape.kept[without] = []
        for i, kind in enumerate(shape.types):
            if kind in without:
                continue
            if kept and kept[-1].stop == shape.starts[i]:
                kept[-1] = slice(kept[-1].start, shape.starts[i + 1])
            else:
                kept.append(slice(shape.starts[i], shape.starts[i + 1]))
    return kept
