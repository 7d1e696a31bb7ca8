"""What operations reach by no field of the node: threads, processes, cgroups, programs and sockets, all in memory."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from crishim.engine import attach, checkpoint, checkpoint_archive, conmon
from crishim.engine.exec import session, sync
from crishim.linux import async_files, cgroups, programs
from crishim.linux.executors import Executor, records
from crishim.operations import open_port
from tests.support.pod_drivers import World

T = TypeVar("T")


class Paths:
    """node.paths without threads."""

    async def run(self, pod_id: str, work: Callable[[], T], *, limit: float | None = None) -> T:
        await asyncio.sleep(0)
        return work()


async def at_once(executor: Executor, work: Callable[..., T], /, *args: Any, **options: Any) -> T:
    """Executor.__call__ without a thread: suspended before the work, and with its answer."""
    await asyncio.sleep(0)
    result = work(*args, **options)
    await asyncio.sleep(0)
    return result


async def read(path: Path) -> bytes:
    return await at_once(records, path.read_bytes)


async def write(path: Path, data: bytes) -> None:
    await at_once(records, path.write_bytes, data)


def install(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put all of it in place of the kernel's until the test ends."""
    world.kernel.install(monkeypatch)
    monkeypatch.setattr(Executor, "__call__", at_once)
    monkeypatch.setattr(async_files, "read", read)
    monkeypatch.setattr(async_files, "write", write)
    monkeypatch.setattr(cgroups, "hierarchies", lambda: {"unified": world.directory / "cgroup"})

    async def run(argv: Sequence[str], *, timeout: float) -> None:
        await world.step(f"programs.run {argv[0]}")
        for argument in argv:
            if argument.startswith("--file="):
                Path(argument.removeprefix("--file=")).touch()
        await world.done()

    async def dump(runtime: object, id: str, images: Path, work: Path, *, timeout: float) -> None:
        await world.step("checkpoint.dump")

    async def why_unsupported(runtime: object) -> str:
        return ""

    def reopen_log(bundle: Path, *, again: bool) -> None:
        world.reopened(bundle.name)

    def kill_monitor(bundle: Path, *, search: bool = False) -> None:
        if (process := world.processes.get(bundle.name)) is not None:
            process.end()

    monkeypatch.setattr(conmon, "kill_monitor", kill_monitor)
    monkeypatch.setattr(programs, "run", run)
    monkeypatch.setattr(checkpoint, "dump", dump)
    monkeypatch.setattr(checkpoint_archive, "_check_owner", lambda fd, path: None)  # whoever runs the tests
    monkeypatch.setattr(checkpoint, "why_unsupported", why_unsupported)
    monkeypatch.setattr(conmon, "reopen_log", reopen_log)
    _install_streams(world, monkeypatch)


def _install_streams(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(command: object, slot: object, *, timeout: float) -> str:
        async with contextlib.AsyncExitStack() as ended:
            world.held.add("a command")
            ended.callback(world.held.discard, "a command")
            await world.step("exec.run")
        return "said"

    async def start(command: object, **streams: bool) -> Any:
        await world.step("exec.start")
        return SimpleNamespace()

    async def connect(*where: object, **streams: bool) -> Any:
        await world.step("connect")
        return SimpleNamespace()

    monkeypatch.setattr(sync, "run", run)
    monkeypatch.setattr(session, "start", start)
    monkeypatch.setattr(attach, "connect", connect)
    monkeypatch.setattr(open_port, "connect_in_netns", connect)
