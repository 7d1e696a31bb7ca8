"""Gaps that a crowd leaves in Python's allocator, filled for a while, so that what is renewed moves out of them.

Python takes memory for objects of up to 512 bytes by the megabyte (an arena), cuts it into pools of 16 KiB with blocks
of one size, and gives an arena back when all of it is free (CPython, Objects/obmalloc.c). A free block is used before a
pool is begun, the one that was freed last first. So what gRPC and asyncio renew with each call stays where it was among
a crowd that has gone: sixty small objects keep sixteen arenas.

While every gap is filled, what is made begins pools of its own, and those come out of the fullest arena there is.
"""

import asyncio
import gc
import os
import sys
from collections import Counter
from collections.abc import Callable

ROUNDS = 4  # an object may get the place its predecessor had just left: that is filled the next time
PAUSE = 0.7  # seconds, in which a node is called, and its own loops come round
_POOL_BITS, _POOL_HEADER = 14, 48
_MOST = 512 << 10  # bytes of one size and round

_Maker = Callable[[], object]


def _zeros(block: int) -> _Maker:
    size = block - sys.getsizeof(b"")
    return lambda: bytes(size)


# An object for each size of a block, of a type that keeps no free ones itself. object is 16 bytes, complex 32.
_MAKERS: dict[int, _Maker] = {16: object, 32: complex} | {block: _zeros(block) for block in range(48, 513, 16)}


async def move_out(renew: Callable[[], None]) -> None:
    """Keep the gaps filled for ROUNDS * PAUSE seconds; renew is called in each round.

    Nothing where Python has another allocator.
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
    held.reverse()  # the gaps that were found last, in pools that are there for longest, are to be used first
    held.clear()  # the last one first


def fill(block: int) -> list[object]:
    """Objects in every free block of this size, in pools that have been begun. One of 16 to 512 in steps of 16."""
    make, whole = _MAKERS[block], ((1 << _POOL_BITS) - _POOL_HEADER) // block
    made: list[object] = []
    for _ in range(_MOST // block // whole + 1):
        made += [make() for _ in range(whole)]
        if begun := _whole_pools(made[-3 * whole :], whole):  # for us: there were no gaps
            return [piece for piece in made if _pool(piece) not in begun]
    return made


def _whole_pools(pieces: list[object], whole: int) -> set[int]:
    """Counted when all are made, and forgotten before the next: what counts takes blocks, too."""
    return {pool for pool, count in Counter(map(_pool, pieces)).items() if count == whole}


def _pool(piece: object) -> int:
    return id(piece) >> _POOL_BITS
