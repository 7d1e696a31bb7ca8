"""What is recorded of an end."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from crishim.engine import conmon
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState
from crishim.model import ContainerRecord, ProcessRef
from crishim.operations import exits
from crishim.operations.exits import START_FAILED, START_FAILED_CODE, exited, record_exit, watch_exit
from crishim.operations.start_container import _failed, _running
from tests.support.nodes import make_node

GONE = ProcessRef(pid=2**22 + 1, start_time=1)  # beyond the largest pid


def container(state: ContainerState = ContainerState.RUNNING, **fields: object) -> ContainerRecord:
    record = ContainerRecord(
        id="c" * 64,
        pod_id="p" * 64,
        state=state,
        config=b"",
        handler="crun",
        image_id="i",
        image_ref="i",
        created_at=10,
        started_at=20,
        process=GONE,
        monitor=GONE,
    )
    return replace(record, **fields)


@pytest.mark.parametrize(
    ("code", "oom", "message", "reason"),
    [
        (0, False, "", "Completed"),
        (0, True, "", "Completed"),
        (1, False, "", "Error"),
        (137, True, "", "OOMKilled"),
        (137, False, "", "Error"),
        (255, False, "its monitor is gone", "Unknown"),
    ],
)
def test_reasons(code: int, oom: bool, message: str, reason: str) -> None:
    """Code, reason, time and message; processes are forgotten."""
    found = exited(container(), code, 30, oom, message)
    assert (found.state, found.exit_code, found.reason) == (ContainerState.EXITED, code, reason)
    assert (found.finished_at, found.message) == (30, message)
    assert found.process is found.monitor is None


def test_it_does_not_end_before_it_started() -> None:
    """Files have coarser times than clocks."""
    assert exited(container(), 0, 19, False).finished_at == 20


@pytest.mark.parametrize("state", [ContainerState.CREATING, ContainerState.EXITED, ContainerState.REMOVING])
def test_an_end_is_recorded_once(state: ContainerState) -> None:
    """Without a process there is none to end."""
    record = container(state, exit_code=7)
    assert exited(record, 0, 30, False) is record


def test_a_start_that_failed() -> None:
    """StartError keeps its own code and the runtime's words, whatever conmon says of the end."""
    failed = _failed(container(ContainerState.STARTING), "no such command")
    assert (failed.reason, failed.message) == (START_FAILED, "no such command")
    found = exited(failed, 1, 30, False)
    assert (found.exit_code, found.reason, found.message) == (START_FAILED_CODE, START_FAILED, "no such command")
    late = _failed(exited(container(ContainerState.STARTING), 1, 30, False), "no such command")
    assert (late.state, late.exit_code, late.reason) == (ContainerState.EXITED, START_FAILED_CODE, START_FAILED)


def test_a_command_that_was_over_at_once() -> None:
    """Its end may be recorded before its start: EXITED stays, and the times are in order."""
    assert _running(container(ContainerState.STARTING), 25).state is ContainerState.RUNNING
    over = _running(exited(container(ContainerState.STARTING, started_at=0), 0, 30, False), 40)
    assert (over.state, over.started_at, over.finished_at) == (ContainerState.EXITED, 30, 30)


class Bench:
    """A node whose runtime and file systems only count."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.deleted: list[str] = []
        self.released: list[str] = []
        self.node = make_node(directory, handlers=self, launcher=self, filesystems=self)
        self.containers = self.node.containers

    def get(self, handler: str) -> "Bench":
        return self

    def bundle(self, id: str) -> Path:
        return self.directory / id

    async def delete(self, id: str, *, dead: bool = False) -> None:
        self.deleted.append(id)

    async def release(self, record: ContainerRecord) -> None:
        self.released.append(record.id)


async def test_settling(tmp_path: Path) -> None:
    """The exit file's code is recorded, then the runtime forgets the container and its root is unmounted."""
    bench = Bench(tmp_path)
    record = container()
    await bench.containers.add(record)
    (tmp_path / record.id).mkdir()
    (tmp_path / record.id / "exit").write_text("9")
    watch_exit(bench.node, record)
    await bench.node.tasks.drain(5)
    found = bench.containers.find(record.id)
    assert (found.state, found.exit_code, found.reason) == (ContainerState.EXITED, 9, "Error")
    assert (bench.deleted, bench.released) == ([record.id], [record.id])
    await record_exit(bench.node, record.id)
    await record_exit(bench.node, "nobody")
    assert bench.deleted == [record.id]


async def test_a_monitor_that_left_no_code(tmp_path: Path) -> None:
    """255 and Unknown, with a message that names conmon."""
    bench = Bench(tmp_path)
    record = container()
    await bench.containers.add(record)
    await record_exit(bench.node, record.id)
    found = bench.containers.find(record.id)
    assert (found.exit_code, found.reason) == (255, "Unknown")
    assert "conmon" in found.message


async def test_a_record_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again until it can; nothing of the container is freed before."""
    monkeypatch.setattr(exits, "RETRY", 0.01)
    bench = Bench(tmp_path)
    record = container()
    await bench.containers.add(record)
    update, refusals = bench.containers.update, [CrishimError(Kind.EXHAUSTED, "full")] * 2

    async def full(id: str, change: object) -> ContainerRecord:
        if refusals:
            assert bench.deleted == []
            raise refusals.pop()
        return await update(id, change)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.containers, "update", full)
    await record_exit(bench.node, record.id)
    async with asyncio.timeout(5):
        await bench.containers.wait(record.id, lambda r: r.state is ContainerState.EXITED)
    await bench.node.tasks.drain(5)
    assert (refusals, bench.deleted) == ([], [record.id])


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), asyncio.CancelledError(), ValueError("odd")])
async def test_an_end_that_cannot_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """No descriptor, a cancellation, anything: it is looked at again, and the code is recorded."""
    monkeypatch.setattr(exits, "RETRY", 0.01)
    bench, record, refusals = Bench(tmp_path), container(), [error]
    await bench.containers.add(record)
    (tmp_path / record.id).mkdir()
    (tmp_path / record.id / "exit").write_text("9")
    read = conmon.exit_record

    def exit_record(bundle: Path) -> tuple[int, int] | None:
        if refusals:
            raise refusals.pop()
        return read(bundle)

    monkeypatch.setattr(conmon, "exit_record", exit_record)
    exits._start_settling(bench.node, record.id)
    async with asyncio.timeout(5):
        await bench.containers.wait(record.id, lambda r: r.state is ContainerState.EXITED)
    assert bench.containers.find(record.id).exit_code == 9
    await bench.node.tasks.drain(5)
