"""The watch of devices in their pods: what one look leaves behind, and how loudly it speaks."""

import asyncio
import logging
from typing import Any

import pytest

from crishim.linux.netlink import link_monitor
from crishim.netdev import presence
from crishim.netdev.records import State
from tests.unit.netdev.fake_links import attachment
from tests.unit.netdev.test_pod_watch import WELL, Scene, attached, is_heard, scene

__all__ = ["attached", "scene"]


async def test_pyroute2_is_loaded_by_the_first_pod_with_a_device(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """By no other: it costs 10 MB."""
    loaded: list[int] = []
    monkeypatch.setattr(link_monitor, "load", lambda: loaded.append(scene.looks))
    scene.known = attachment(state=State.MOVED)
    scene.journal.open([scene.known])
    scene.watch.start()
    for _ in range(20):
        await asyncio.sleep(0)
    assert loaded == []
    scene.advance(State.READY)
    await scene.until_looks(1)
    async with asyncio.timeout(10):
        while not loaded:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert await scene.change(flags=0) != presence.ATTACHED
    assert loaded == [1]


async def test_a_trouble_is_a_warning_and_its_end_is_not(attached: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.clear()
    await attached.change(flags=0)
    await attached.change(flags=WELL)
    told = [r.levelno for r in caplog.records if r.getMessage().startswith("network device")]
    assert told == [logging.WARNING, logging.INFO]


async def test_a_look_that_fails_leaves_no_socket(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It would keep the pod's namespace."""

    def look(*_: Any) -> None:
        raise OSError(19, "No such device")

    monkeypatch.setattr(presence, "look", look)
    scene.journal.open([scene.known])
    scene.watch.start()
    async with asyncio.timeout(10):
        while not any("cannot be looked at" in text for text in caplog.messages):  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert len(scene.sockets) == 1
    assert not is_heard(scene.sockets[0])


async def test_no_pod_is_lively_before_it_has_changed_a_link(attached: Scene) -> None:
    """Else its first flood would not be in the log."""
    assert not attached.watch._pods[attached.known.pod.id].was_lively
