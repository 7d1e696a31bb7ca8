"""Namespaces that a pod made for itself, in the driver: held before its end, looked into, and let go of."""

import os
from typing import Any

import pytest

from crishim.errors import CrishimError, Kind
from crishim.netdev import driver as module
from crishim.netdev.records import Mover, State
from tests.unit.netdev.test_driver import ASKED, Scene, Taken, scene

__all__ = ["scene"]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """What the next search finds; searched: with which ends."""
    nested: dict[int, int] = {}

    def search(attachments: Any, host: Any, pod: Any = None) -> dict[int, int]:
        assert host is not None
        taken = dict(nested)
        nested.clear()
        nested[-1] = -1 if pod is None else len(attachments)
        return taken

    monkeypatch.setattr(module, "search", search)
    return nested


def nest() -> int:
    return os.open("/dev/null", os.O_RDONLY)


async def test_held_until_the_devices_are_home(scene: Scene, found: dict[int, int]) -> None:
    """Looked into at each return, and let go of when all are home."""
    scene.known(5)
    scene.known(6)
    found[8] = nest()
    handle = f"/proc/self/fd/{found[8]}"
    await scene.driver.hold_namespaces("pod-a")
    assert found == {-1: 2}
    assert scene.paths == [("/host", str(scene.netns))]
    assert os.path.exists(handle)
    scene.ends["demo6"] = (State.RETURNING, "stays")
    with pytest.raises(CrishimError):
        await scene.driver.return_devices(scene.pod)
    assert scene.paths[1] == ("/host", str(scene.netns), handle)
    scene.ends["demo6"] = (State.LOST, "")
    await scene.driver.return_devices(scene.pod)
    assert scene.paths[2][-1] == handle
    scene.ends["demo6"] = (State.DONE, "")
    await scene.driver.return_devices(scene.pod)
    assert scene.paths[3][-1] == handle
    assert scene.driver._nested.handles("pod-a") == ()


async def test_nothing_to_hold(scene: Scene, found: dict[int, int]) -> None:
    """No device is out: no thread is started."""
    scene.known(5, State.DOWN)
    await scene.driver.hold_namespaces("pod-a")
    assert scene.paths == []
    scene.known(6, netns_inode=7)  # and a namespace that is gone is not looked at
    await scene.driver.hold_namespaces("pod-a")
    assert scene.paths == [("/host", str(scene.netns))]


async def test_a_namespace_that_is_gone(scene: Scene, found: dict[int, int]) -> None:
    scene.known(5, netns_inode=7)
    await scene.driver.hold_namespaces("pod-a")
    assert scene.paths == [("/host",)]
    assert found == {-1: -1}


async def test_a_search_that_fails(scene: Scene, found: dict[int, int]) -> None:
    """Keeps no pod from ending."""
    scene.known(5)
    scene.threads.fails = CrishimError(Kind.INTERNAL, "no")
    await scene.driver.hold_namespaces("pod-a")
    assert scene.driver._nested.handles("pod-a") == ()


async def test_let_go_of_with_the_pod(scene: Scene, found: dict[int, int]) -> None:
    scene.known(5)
    found[8] = nest()
    await scene.driver.hold_namespaces("pod-a")
    assert len(scene.driver._nested.handles("pod-a")) == 1
    await scene.driver.forget("pod-a")
    assert scene.driver._nested.handles("pod-a") == ()


async def test_a_plan_looks_into_them(scene: Scene, found: dict[int, int]) -> None:
    """A device that its pod has hidden there may be asked for again."""
    scene.driver._leases = Taken(scene, ([], []))  # type: ignore[assignment]
    scene.known(5)
    found[8] = nest()
    await scene.driver.hold_namespaces("pod-a")
    handle = scene.driver._nested.handles("pod-a")[0]
    async with await scene.driver.plan(ASKED, scene.pod, Mover.BUILTIN):
        assert scene.paths[-1] == ("/host", str(scene.netns), handle)
    scene.driver._nested.drop("pod-a")
