"""Fill the free blocks that many ended sessions leave in Python's allocator, so that long-lived objects move elsewhere.

Python takes memory for objects of up to 512 bytes by the megabyte (an arena), cuts it into pools of 16 KiB with blocks
of one size, and gives an arena back when all of it is free (CPython, Objects/obmalloc.c). A free block is used before a
new pool, the one that was freed last first. So the objects that gRPC and asyncio replace with each call stay among the
blocks of ended sessions: sixty small objects keep sixteen arenas.

While every free block is filled, new objects get new pools, and those come from the fullest arena.
"""

import asyncio
import gc
import os
import sys
from collections import Counter
from collections.abc import Callable

ROUNDS = 4  # an object may get the block its predecessor had just left, which the next round fills
PAUSE = 0.7  # seconds, in which RPCs come in and the daemon's periodic tasks run
_POOL_BITS, _POOL_HEADER = 14, 48
_MOST = 512 << 10  # bytes of one size and round

_Maker = Callable[[], object]


def _zeros(block: int) -> _Maker:
    size = block - sys.getsizeof(b"")
    return lambda: bytes(size)


# An object for each block size, of a type without a free list. object is 16 bytes, complex 32.
_MAKERS: dict[int, _Maker] = {16: object, 32: complex} | {block: _zeros(block) for block in range(48, 513, 16)}


async def move_out(renew: Callable[[], None]) -> None:
    """Keep free blocks filled for ROUNDS * PAUSE seconds; renew is called in each round.

    Does nothing if Python uses another allocator.
    """
    if os.environ.get("PYTHONMALLOC", "pymalloc") not in ("", "default", "pymalloc") or sys.flags.dev_mode:
        return
    held: list[object] = []
    for _ in range(ROUNDS):
        for block in _MAKERS:
            held += fill(block)
            await asyncio.sleep(0)
        renew()
        await asyncio.sleep(PAUSE)
        gc.collect(1)  # gRPC's calls refer to themselves
    held.reverse()  # the blocks found last, in the oldest pools, are to be used first
    held.clear()  # the last one first


def fill(block: int) -> list[object]:
    """Objects in every free block of this size in the pools in use. block: bytes, 16 to 512 in steps of 16."""
    make, whole = _MAKERS[block], ((1 << _POOL_BITS) - _POOL_HEADER) // block
    made: list[object] = []
    for _ in range(_MOST // block // whole + 1):
        made += [make() for _ in range(whole)]
        if begun := _whole_pools(made[-3 * whole :], whole):  # made for us: no free block is left
            return [piece for piece in made if _pool(piece) not in begun]
    return made


def _whole_pools(pieces: list[object], whole: int) -> set[int]:
    """The pools filled by pieces alone. Counted after all are made: counting takes blocks, too."""
    return {pool for pool, count in Counter(map(_pool, pieces)).items() if count == whole}


def _pool(piece: object) -> int:
    return id(piece) >> _POOL_BITS
