"""Scratch directories that have served go, whatever happens to their removal."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crishim.engine.exec import child
from crishim.engine.exec.child import Command, ExecChild
from crishim.engine.exec.crun import CrunExec
from crishim.engine.exec.session import ExecSession
from crishim.images.skopeo import Skopeo, StoreDirectories
from crishim.linux import executors, scratch
from crishim.linux.executors import Executor
from crishim.linux.pipes import ReadEnd
from crishim.linux.scratch import Discarded


class Failing(Executor):
    """Its first calls fail before anything is done."""

    def __init__(self, failures: int) -> None:
        super().__init__("failing", 1)
        self.failures = failures

    async def __call__(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if self.failures:
            self.failures -= 1
            raise OSError(5, "Input/output error")
        return await super().__call__(work, *args, **kwargs)


def _made(*paths: Path) -> None:
    for path in paths:
        path.mkdir()
        (path / "file").touch()


async def test_a_directory_whose_removal_failed_goes_with_the_next(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    _made(first, second)
    discarded = Discarded(Failing(1))
    await discarded.discard(first)
    assert first.exists()
    await discarded.discard(second)
    assert list(tmp_path.iterdir()) == []


async def test_it_goes_without_another_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "PAUSES", (0.0, 0.0))
    directory = tmp_path / "directory"
    _made(directory)
    discarded = Discarded(Failing(2))
    await discarded.discard(directory)
    await asyncio.gather(*discarded._removals)
    assert not directory.exists()


async def test_one_that_cannot_be_removed_holds_up_no_other(tmp_path: Path) -> None:
    wrong, right = tmp_path / "wrong", tmp_path / "right"
    wrong.touch()  # no directory: rmtree refuses it
    _made(right)
    discarded = Discarded(Executor("test", 1))
    await discarded.discard(wrong, right)
    assert list(tmp_path.iterdir()) == [wrong]
    wrong.unlink()
    await discarded.discard()


async def test_a_cancelled_caller_leaves_nothing_though_the_removal_had_not_begun(tmp_path: Path) -> None:
    directory = tmp_path / "directory"
    _made(directory)
    executor, go = Executor("test", 1), threading.Event()
    busy = asyncio.create_task(executor(go.wait, 10))
    discarded = Discarded(executor)
    caller = asyncio.create_task(discarded.discard(directory))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go.set()
    await busy
    await discarded.discard()
    assert not directory.exists()


async def test_an_exec_session_closes_its_descriptors_when_its_directory_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "records", Failing(0))
    monkeypatch.setattr(child, "_discarded", Discarded(executors.records))
    made = []
    for number in range(2):
        command = Command(Path("/bin/true"), tmp_path, "0" * 64, {"args": ["true"]}, tmp_path)
        session = ExecSession(ExecChild(command), CrunExec())
        await session.open(terminal=False, stdin=False, stdout=True, stderr=False)
        made.append(session._stdout)
        executors.records.failures = 1 - number  # type: ignore[attr-defined]
        await session.close()
    assert list(tmp_path.iterdir()) == []
    assert all(isinstance(end, ReadEnd) and end._fd < 0 for end in made)


async def test_a_skopeo_run_leaves_no_files_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = StoreDirectories(tmp_path / "root", tmp_path / "run", tmp_path / "scratch", tmp_path / "secrets")
    monkeypatch.setattr(executors, "deletion", Failing(1))
    skopeo = Skopeo(place, program="true")
    place.prepare()
    for _ in range(2):
        await skopeo.delete("0" * 64, timeout=10)
    assert [*place.scratch.iterdir(), *place.secrets.iterdir()] == []
