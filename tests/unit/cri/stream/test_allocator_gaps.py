"""crishim/cri/stream/allocator_gaps.py: what lives on after a crowd leaves the crowd's memory."""

import asyncio
import os
import subprocess
import sys

import pytest

from crishim.cri.stream import allocator_gaps

ARENA = 20  # bits
BLOCKS = range(48, 513, 16)


def after_a_crowd() -> list[object]:
    """For each size of a block one object in a megabyte that a crowd had; what was beside it went last."""
    lives_on: list[object] = []
    crowd, beside = list[list[bytes]](), list[list[bytes]]()
    for block in BLOCKS:
        mine = [bytes(block - 33) for _ in range((3 << 20) // block)]
        one = mine[len(mine) // 2]
        lives_on.append(one)
        beside.append([each for each in mine if pool(each) == pool(one)])
        crowd.append(mine)
    del mine, one
    crowd.clear()
    beside.clear()
    return lives_on


def pool(each: object) -> int:
    return id(each) >> 14


def arenas(objects: list[object]) -> int:
    return len({id(each) >> ARENA for each in objects})


async def test_what_is_renewed_moves_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty objects that kept thirty megabytes keep a few, and the next ones stay out of the crowd's places."""
    monkeypatch.setattr(allocator_gaps, "PAUSE", 0)
    alive = after_a_crowd()
    assert arenas(alive) > 20

    def renew() -> None:
        for place, block in enumerate(BLOCKS):
            alive[place] = bytes(block - 33)

    renew()
    assert arenas(alive) > 20, "they would move by themselves: the test shows nothing"
    await allocator_gaps.move_out(renew)
    assert arenas(alive) <= 10  # what thousands of tests before it left in this process has gaps, too


@pytest.mark.parametrize("block", allocator_gaps._MAKERS)
def test_a_filling_ends(block: int) -> None:
    """Each is of the size it is for, and what fills the gaps is bounded."""
    made = allocator_gaps.fill(block)
    assert len(made) <= allocator_gaps._MOST // block + (1 << 14) // block
    assert block - 16 < sys.getsizeof(allocator_gaps._MAKERS[block]()) <= block


@pytest.mark.parametrize(("allocator", "rounds"), [("malloc", 0), ("", allocator_gaps.ROUNDS)])
def test_another_allocator_is_left_alone(allocator: str, rounds: int) -> None:
    """Pools are pymalloc's: elsewhere there is nothing to be filled."""
    program = (
        "import asyncio; from crishim.cri.stream import allocator_gaps as gaps; gaps.PAUSE = 0; seen = [];"
        "asyncio.run(gaps.move_out(lambda: seen.append(1))); print(len(seen))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONMALLOC": allocator}, capture_output=True, check=True
    )
    assert int(done.stdout) == rounds


async def test_a_filling_does_not_hold_the_loop_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another task runs between two sizes."""
    monkeypatch.setattr(allocator_gaps, "PAUSE", 0)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await allocator_gaps.move_out(lambda: None)
    counting.cancel()
    assert turns >= allocator_gaps.ROUNDS * len(allocator_gaps._MAKERS)
