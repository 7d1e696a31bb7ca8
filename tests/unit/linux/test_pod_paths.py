"""Look-ups of a pod's paths that do not end: given up, counted against their pod, named in the error."""

import asyncio
import threading

import pytest

from crishim.errors import CrishimError, Kind
from crishim.linux.pod_paths import PodPaths, looking_at


class Volume:
    """A path that does not answer until it is told to."""

    def __init__(self, path: str) -> None:
        self.path, self.answers = path, threading.Event()

    def look_up(self) -> str:
        looking_at("/before")
        looking_at(self.path)
        self.answers.wait()
        return "found"


async def refused(paths: PodPaths, pod: str, volume: Volume) -> CrishimError:
    with pytest.raises(CrishimError) as caught:
        await paths.run(pod, volume.look_up)
    return caught.value


async def settled(paths: PodPaths, pod: str) -> None:
    async with asyncio.timeout(30):
        while paths.hanging(pod):  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_a_result_and_an_error_come_through() -> None:
    paths, volume = PodPaths(30), Volume("/v")
    volume.answers.set()
    assert await paths.run("p1", volume.look_up) == "found"

    def timed_out() -> None:
        raise TimeoutError("the file system's own")

    with pytest.raises(TimeoutError, match="own"):
        await paths.run("p1", timed_out)
    await settled(paths, "p1")


async def test_a_path_that_hangs_is_given_up_and_named() -> None:
    paths, volume = PodPaths(0.05), Volume("/mnt/nfs")
    error = await refused(paths, "p1", volume)
    assert error.kind is Kind.DEADLINE
    assert error.message == "/mnt/nfs does not answer: given up after 0.05 s"
    assert error.facts == {"path": "/mnt/nfs", "pod": "p1"}
    volume.answers.set()
    await settled(paths, "p1")


async def test_a_pod_that_tries_for_ever_collects_no_threads() -> None:
    paths, volume = PodPaths(0.02, each=2), Volume("/mnt/nfs")
    kinds = [(await refused(paths, "p1", volume)).kind for _ in range(5)]
    assert kinds == [Kind.DEADLINE] * 2 + [Kind.UNAVAILABLE] * 3
    assert "/mnt/nfs" in (await refused(paths, "p1", volume)).message
    assert paths.hanging("p1") == ["/mnt/nfs"] * 2
    other = Volume("/fine")
    other.answers.set()
    assert await paths.run("p2", other.look_up, limit=30) == "found"
    volume.answers.set()
    await settled(paths, "p1")
    assert await paths.run("p1", volume.look_up, limit=30) == "found"
    await settled(paths, "p1")


async def test_a_caller_that_leaves_is_not_held_up() -> None:
    paths, volume = PodPaths(30), Volume("/mnt/nfs")
    task = asyncio.create_task(paths.run("p1", volume.look_up))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    volume.answers.set()
    await settled(paths, "p1")


def test_outside_of_a_look_up_nothing_is_noted() -> None:
    looking_at("/anything")
