"""Every operation fails, and is cancelled, once at each point where it is suspended; what it left is ended by its
client's next calls. Over drivers in memory and by a clock of its own: a few thousand lives in some seconds.
"""

import asyncio
import inspect
import os
from pathlib import Path

import pytest

from crishim.errors import CrishimError
from crishim.operations.run_pod import run_pod
from tests.support.own_clock import simulate
from tests.support.suspensions import CURRENT, Operation, driven, make_task
from tests.support.world import World
from tests.unit.operations.lives import LIVES, Life, end_all, remains, there, until_quiet


async def run(world: World, life: Life, point: int, fault: str) -> tuple[Operation, BaseException | None]:
    """The call with a fault at a point (from 1; 0: none), and how it ended."""
    operation = Operation("await", point, fault)
    asyncio.get_running_loop().set_task_factory(make_task)

    async def call() -> object:
        CURRENT.set(operation)
        operation.task = asyncio.current_task()
        return await driven(life.call(world), operation)

    error = None
    try:
        await asyncio.create_task(call())
    except (CrishimError, OSError, asyncio.CancelledError) as raised:
        error = raised
    return operation, error


async def live(world: World, life: Life, point: int, fault: str) -> Operation:
    """One life with one fault: the call, the same call again, the end; nothing is left."""
    await life.before(world)
    before = there(world)
    operation, error = await run(world, life, point, fault)
    if fault == "cancel" and operation.hit:
        assert error is None or isinstance(error, asyncio.CancelledError), f"a cancellation became {error!r}"
    if not point:
        assert error is None
    assert await until_quiet(world) == []
    after = there(world)
    if error is not None and life.undone and fault != "cancel":
        assert after == before
    try:
        await life.call(world)
    except CrishimError as again:
        assert again.kind in life.again, f"the call again: {again!r}"  # noqa: PT017
    assert await until_quiet(world) == []
    if error is not None and life.undone and after != before:  # what plugins are told afterwards was cut off
        assert there(world) == after, "a cancelled call is undone or done"
    await end_all(world)
    assert await until_quiet(world) == []
    assert remains(world) == []
    return operation


def one(directory: Path, life: Life, point: int, fault: str, *, plugins: bool) -> Operation:
    directory.mkdir()
    with pytest.MonkeyPatch.context() as monkeypatch:
        world = World(directory, monkeypatch)
        world.nri.active = plugins
        try:
            return simulate(live(world, life, point, fault))
        finally:
            world.close()


@pytest.mark.parametrize("plugins", [False, True], ids=["", "with NRI plugins"])
@pytest.mark.parametrize("fault", ["EIO", "cancel"])
@pytest.mark.parametrize("name", LIVES)
def test_each_suspension(tmp_path: Path, name: str, fault: str, *, plugins: bool) -> None:
    before = len(os.listdir("/proc/self/fd"))
    places = one(tmp_path / "0", LIVES[name], 0, "", plugins=plugins).seen["await"]
    assert places, "it is never suspended"
    lost = []
    for point in range(1, len(places) + 1):
        try:
            one(tmp_path / str(point), LIVES[name], point, fault, plugins=plugins)
        except Exception as error:
            lost.append(f"{point} {places[point - 1]}: {type(error).__name__} {error}")
    assert lost == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_every_operation_has_a_life() -> None:
    """An operation is the coroutine with its module's name; those of exec.py are three."""
    lives = (Path(__file__).parent / "lives.py").read_text()
    operations = Path(inspect.getfile(run_pod)).parent
    names = [p.stem for p in operations.glob("*.py") if f"async def {p.stem}(" in p.read_text()]
    assert len(names) > 15
    assert [name for name in names if f"{name}(" not in lives] == []
