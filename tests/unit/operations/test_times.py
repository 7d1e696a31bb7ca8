"""What takes time, by a clock of its own: grace periods, what does not end, what others wait for meanwhile."""

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import PodState
from crishim.operations import recover as recovery
from crishim.operations import stop_container as stopping
from crishim.operations.recover import recover
from crishim.operations.reopen_log import reopen_log
from crishim.operations.run_pod import run_pod
from crishim.operations.stop_container import stop_container
from crishim.operations.stop_pod import stop_pod
from crishim.pb import cri_pb2 as cri
from tests.support.own_clock import Stuck, simulate
from tests.support.world import World
from tests.unit.operations.lives import container, running, until_quiet


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(tmp_path, monkeypatch)
    yield world
    world.close()


def now() -> float:
    return asyncio.get_running_loop().time()


def test_the_clock() -> None:
    """An hour is over at once, in the order of its timers; what never comes is an error."""
    done: list[str] = []

    async def hour() -> float:
        began = now()
        loop = asyncio.get_running_loop()
        loop.call_later(1800, done.append, "later")
        loop.call_later(20, done.append, "soon")
        await asyncio.sleep(3600)
        return now() - began

    assert simulate(hour()) == pytest.approx(3600, abs=0.01)
    assert done == ["soon", "later"]
    with pytest.raises(Stuck):
        simulate(asyncio.Event().wait())


@pytest.mark.parametrize(
    ("lasts", "code", "took"), [(0.0, 143, 0), (7.0, 143, 7), (11.0, 137, 10), (math.inf, 137, 10)]
)
def test_the_grace_period(world: World, lasts: float, code: int, took: float) -> None:
    """SIGTERM, and SIGKILL when the time is over; nobody waits longer than the process lasts."""

    async def stop() -> tuple[int, float]:
        await running(world)
        id, began = container(world), now()
        process = world.processes[id]
        process.lasts[15] = lasts
        await stop_container(world.node, id, 10)
        assert process.signals == ([15] if code == 143 else [15, 9])
        return world.node.containers.find(id).exit_code, now() - began

    found, seconds = simulate(stop())
    assert found == code
    assert seconds == pytest.approx(took, abs=0.01)


def test_a_second_stop_with_less_time(world: World) -> None:
    """It does not wait for the first."""

    async def stop() -> float:
        await running(world)
        id, began = container(world), now()
        world.processes[id].lasts[15] = math.inf
        await asyncio.gather(stop_container(world.node, id, 600), stop_container(world.node, id, 2))
        return now() - began

    assert simulate(stop()) == pytest.approx(2, abs=0.01)


def test_a_process_that_cannot_be_killed(world: World) -> None:
    """DEADLINE after a minute, and the pod's stop with it; when it ends at last, all of it can go."""

    async def stop() -> float:
        await running(world)
        id, began = container(world), now()
        process = world.processes[id]
        process.lasts = {15: math.inf, 9: math.inf}
        with pytest.raises(CrishimError) as caught:
            await stop_container(world.node, id, 0)
        assert caught.value.kind is Kind.DEADLINE
        took = now() - began
        process.end(9)
        assert await until_quiet(world) == []
        await stop_pod(world.node, next(iter(world.node.pods)).id)
        return took

    assert simulate(stop()) == pytest.approx(stopping.KILL_PATIENCE, abs=0.01)


@pytest.mark.parametrize("seconds", [0.0, 9.0, 11.0])
def test_a_log_that_is_opened_late(world: World, seconds: float) -> None:
    """Within ten seconds it is fine; afterwards DEADLINE names the container."""

    async def reopen() -> float:
        await running(world)
        began = now()
        world.reopens = False
        id = container(world)
        asyncio.get_running_loop().call_later(seconds, world.new_log(id).unlink)
        if seconds < 10:
            await reopen_log(world.node, id)
        else:
            with pytest.raises(CrishimError, match="opened no new log within 10 s") as caught:
                await reopen_log(world.node, id)
            assert caught.value.kind is Kind.DEADLINE
        return now() - began

    assert simulate(reopen()) == pytest.approx(min(seconds, 10), abs=0.01)


def config(name: str) -> cri.PodSandboxConfig:
    return cri.PodSandboxConfig(metadata=cri.PodSandboxMetadata(name=name, namespace="ns", uid="u"))


def test_slow_networks_are_waited_for_side_by_side(world: World) -> None:
    """Ten pods whose CNI ADD takes half a minute take half a minute, and a repeated request waits for the first."""
    world.delay["networks.add"] = 30

    async def run() -> float:
        began = now()
        names = [f"p{i}" for i in range(10)]
        ids = await asyncio.gather(*(run_pod(world.node, config(name), "") for name in names * 2))
        assert len(set(ids)) == 10
        return now() - began

    assert simulate(run()) == pytest.approx(30, abs=0.01)


def test_a_start_does_not_wait_for_a_network_that_is_slow_to_go(world: World) -> None:
    """Ten seconds; the rest is done while the daemon serves."""

    async def start() -> float:
        id = await run_pod(world.node, config("p"), "")
        world.held.discard(f"namespaces {id}")  # after a reboot
        world.node = world.start()
        world.delay["networks.delete"] = 300
        began = now()
        await recover(world.node)
        took = now() - began
        assert world.node.pods.find(id).state is PodState.STOPPING
        assert await world.node.tasks.drain(600) == []
        assert world.node.pods.find(id).state is PodState.NOTREADY
        return took

    assert simulate(start()) == pytest.approx(recovery.PATIENCE, abs=0.01)
