"""Writable layers: measured beside the RPCs."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from crishim.stats.layers import TOLERANCE, Layer, Layers


@dataclass
class Size:
    bytes: int
    inodes: int = 1


class Scale:
    """Measures at command: counts its calls, and waits where a test holds it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.free = threading.Event()
        self.free.set()

    def __call__(self, path: Path) -> Size:
        self.calls.append(path.name)
        assert self.free.wait(10)
        if path.name == "broken":
            raise PermissionError(path)
        return Size(len(self.calls))


def layer(name: str, ended_at: int = 0) -> dict[str, Layer]:
    return {name: Layer(Path("/w") / name, ended_at)}


async def test_a_figure_is_used_again_until_it_is_old() -> None:
    """Within max_age nothing is measured twice."""
    scale = Scale()
    layers = Layers(scale, max_age=60)
    first = await layers.usage(layer("a"), patience=5)
    assert first["a"].bytes == 1
    assert await layers.usage(layer("a"), patience=5) == first
    assert scale.calls == ["a"]


async def test_a_list_does_not_wait_for_a_large_layer() -> None:
    """Past its patience a list goes without the layers nobody has measured yet, and has those it knows."""
    scale = Scale()
    layers = Layers(scale, max_age=60)
    await layers.usage(layer("known"), patience=5)
    scale.free.clear()
    started = time.monotonic()
    found = await layers.usage(layer("known") | layer("large"), patience=0.05)
    assert time.monotonic() - started < 1
    assert set(found) == {"known"}
    scale.free.set()
    assert set(await layers.usage(layer("large"), patience=5)) == {"large"}
    assert scale.calls == ["known", "large"]  # the second question joined the measuring under way


async def test_an_old_figure_is_given_at_once_and_renewed() -> None:
    """Who asks gets the old figure without waiting; who asks later gets the new one."""
    scale = Scale()
    layers = Layers(scale, max_age=0)
    await layers.usage(layer("a"), patience=5)
    scale.free.clear()
    assert (await layers.usage(layer("a"), patience=0))["a"].bytes == 1
    scale.free.set()
    assert (await layers.usage(layer("a"), patience=5, fresh=True))["a"].bytes >= 2


async def test_fresh_waits_for_a_new_figure() -> None:
    """ContainerStats of one container sees what was just written."""
    scale = Scale()
    layers = Layers(scale, max_age=60)
    await layers.usage(layer("a"), patience=5)
    assert (await layers.usage(layer("a"), patience=5, fresh=True))["a"].bytes == 2


async def test_a_layer_of_an_ended_container_is_not_measured_again() -> None:
    """It cannot change any more."""
    scale = Scale()
    layers = Layers(scale, max_age=0)
    await layers.usage(layer("a"), patience=5)
    ended = layer("a", time.time_ns() - 2 * TOLERANCE)
    for _ in range(3):
        await layers.usage(ended, patience=5, fresh=True)
    assert scale.calls == ["a"]
    just_ended = layer("a", time.time_ns())
    await layers.usage(just_ended, patience=5, fresh=True)
    assert scale.calls == ["a", "a"]  # the end may have been a little later than it is dated


async def test_fresh_is_not_content_with_what_is_under_way() -> None:
    """A measuring that began before the question may have missed what was written since."""
    scale = Scale()
    scale.free.clear()
    layers = Layers(scale, max_age=60)
    assert await layers.usage(layer("a"), patience=0) == {}
    scale.free.set()
    assert (await layers.usage(layer("a"), patience=5, fresh=True))["a"].bytes == 2


async def test_a_layer_that_cannot_be_measured_is_left_out() -> None:
    """An error is no figure, and does not stop the others."""
    layers = Layers(Scale(), max_age=60)
    assert set(await layers.usage(layer("broken") | layer("a"), patience=5)) == {"a"}


async def test_what_is_forgotten_is_measured_anew() -> None:
    """A removed container leaves nothing behind."""
    scale = Scale()
    layers = Layers(scale, max_age=60)
    await layers.usage(layer("a"), patience=5)
    layers.forget("a")
    await layers.usage(layer("a"), patience=5)
    assert scale.calls == ["a", "a"]
