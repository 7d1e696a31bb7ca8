"""Plans of one pod take turns."""

import asyncio

from crishim.netdev.records import Mover
from tests.unit.netdev.test_driver import ASKED, Scene, Taken
from tests.unit.netdev.test_driver import scene as scene


async def test_waiting_for_a_lock(scene: Scene) -> None:
    """A plan of the same pod waits for the one before it."""
    scene.driver._leases = Taken(scene, ([], []))  # type: ignore[assignment]
    first = await scene.driver.plan(ASKED, scene.pod, Mover.BUILTIN)
    second = asyncio.create_task(scene.driver.plan(ASKED, scene.pod, Mover.BUILTIN))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not second.done()
    await first.rollback()
    await (await second).rollback()
