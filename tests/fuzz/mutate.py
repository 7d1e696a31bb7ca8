"""New inputs out of known ones: JSON changed by its structure, lengths in binary formats, bytes in all of them."""

import json
import random
from collections.abc import Sequence
from typing import Any

INTERESTING = (
    b"",
    b"\0",
    b"\xff",
    b"\n",
    b":",
    b",",
    b"=",
    b"/",
    b"..",
    b"\x80\x00",
    b"\xff\xff\xff\xff",
    b"-1",
    b"%d",
)
NUMBERS = (0, 1, -1, 15, 127, 255, 256, 65535, 1 << 31, (1 << 32) - 1, 1 << 63, 1 << 64, 10**30, 1.5, 1e400)
TEXTS = ("", "a", "/", "..", "a/b", "\0", "\n", "0", "-1", "1" * 5000, "é", "\ud800", "x" * 300, "1.1.0", "10.0.0.1/9")
LARGEST = 1 << 16  # bytes an input may grow to


def mutated(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """One input: a seed, or two of them joined, changed a few times."""
    data = chance.choice(seeds) if seeds else chance.randbytes(chance.randrange(64))
    if data[:1] in b"{[" and chance.random() < 0.7:
        data = _json(data, chance)
        if chance.random() < 0.8:
            return data
    for _ in range(chance.choice((0, 1, 1, 2, 3, 8))):
        data = chance.choice(CHANGES)(data, seeds, chance)[:LARGEST]
    return data


def _flip(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    if not data:
        return chance.randbytes(4)
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def _set(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(INTERESTING) + data[at + chance.randrange(5) :]


def _insert(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    new = chance.choice(INTERESTING) * chance.choice((1, 1, 2, 100)) if chance.random() < 0.5 else chance.randbytes(3)
    return data[:at] + new + data[at:]


def _cut(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + data[at + chance.randrange(1, 40) :]


def _end(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _repeat(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    part = data[at : at + chance.randrange(1, 200)]
    return data[:at] + part * chance.choice((2, 2, 2, 3, 3, 3, 50)) + data[at:]


def _splice(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    other = chance.choice(seeds) if seeds else data
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other) + 1) :]


def _length(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """A number of two or four bytes, at an even place, in either order."""
    if len(data) < 4:
        return data
    at, size = chance.randrange(len(data) - 3) & ~1, chance.choice((2, 4))
    value = chance.choice((0, 1, 3, 4, 5, 8, 15, 16, len(data), len(data) - at, 0x7FFF, 0xFFFF)) & 0xFFFF
    return data[:at] + value.to_bytes(size, chance.choice(("little", "big"))) + data[at + size :]


CHANGES = (_flip, _set, _insert, _cut, _end, _repeat, _splice, _length)


def _json(data: bytes, chance: random.Random) -> bytes:
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return data
    for _ in range(chance.choice((1, 1, 2, 4))):
        tree = _changed(tree, chance)
    try:
        made = json.dumps(tree).encode()
    except (ValueError, RecursionError):
        return data
    return made if len(made) <= LARGEST else data  # a part repeated within one that is


def _changed(tree: Any, chance: random.Random) -> Any:
    """The tree with one node somewhere in it changed."""
    if isinstance(tree, dict) and tree and chance.random() < 0.85:
        key = chance.choice(sorted(tree))
        kind = chance.randrange(8)
        if kind == 0:
            return {k: v for k, v in tree.items() if k != key}
        if kind == 1:
            return tree | {chance.choice((*TEXTS[:12], key + "x", key.lower())): tree[key]}
        return tree | {key: _changed(tree[key], chance)}
    if isinstance(tree, list) and tree and chance.random() < 0.8:
        at = chance.randrange(len(tree))
        if chance.random() < 0.2:
            return tree[:at] + tree[at : at + 1] * chance.choice((0, 2, 20)) + tree[at + 1 :]
        return [*tree[:at], _changed(tree[at], chance), *tree[at + 1 :]]
    return _anything(chance)


def _anything(chance: random.Random) -> Any:
    kind = chance.randrange(8)
    if kind == 0:
        return chance.choice((None, True, False))
    if kind == 1:
        return [_anything(chance) for _ in range(chance.randrange(3))]
    if kind == 2:
        return {chance.choice(TEXTS): _anything(chance)}
    if kind == 3 and chance.random() < 0.02:  # deep: dear to make
        made: Any = 0
        for _ in range(900):
            made = [made]
        return made
    return chance.choice(NUMBERS) if kind < 6 else chance.choice(TEXTS)
