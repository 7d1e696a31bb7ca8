"""Whether memory ran out, by conmon's file, by the container's group, and by its pod's slice when that is gone."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from crishim.lifecycle import ContainerState
from crishim.linux import cgroups, oom_kills, slices
from crishim.model import ContainerRecord
from crishim.node import Node
from crishim.operations.oom_kills import OOM_KILLED, before_start, was_oom_killed
from tests.support.nodes import make_node
from tests.unit.cri.records import container, pod

SLICE = "crishim-p1.slice"


def scope(id: str) -> str:
    return slices.of_container(f"/crishim.slice/{SLICE}", id, systemd=True)


class Bench:
    """A pod's slice with the scopes of containers c1 and c2, of plain files."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "cgroup"
        self.slice = self.root / "crishim.slice" / SLICE
        self.node: Node = make_node(tmp_path)
        self.bundle = tmp_path / "bundle"
        self.bundle.mkdir()

    def count(self, name: str, kills: int) -> None:
        """Set what a scope, or with "" the slice, has counted."""
        group = self.slice / f"crishim-{name}.scope" if name else self.slice
        group.mkdir(parents=True, exist_ok=True)
        (group / "memory.events").write_text(f"low 0\nmax 7\noom {kills + 3}\noom_kill {kills}\noom_group_kill 0\n")

    async def add(self, id: str, **fields: Any) -> ContainerRecord:
        record = container(id=id, **{"cgroup": scope(id)} | fields)
        await self.node.containers.add(record)
        return record

    async def killed(self, record: ContainerRecord) -> bool:
        return await was_oom_killed(self.node, record, self.bundle)


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(cgroups, "hierarchies", lambda: {"unified": tmp_path / "cgroup"})
    bench = Bench(tmp_path)
    await bench.node.pods.add(pod(cgroup_parent=f"/crishim.slice/{SLICE}"))
    bench.count("", 5)
    bench.count("c1", 0)
    return bench


async def test_conmons_word_is_enough(bench: Bench) -> None:
    record = await bench.add("c1")
    (bench.bundle / "oom").touch()
    assert await bench.killed(record)


@pytest.mark.parametrize(("kills", "found"), [(0, False), (1, True)])
async def test_its_own_group_while_it_is_there(bench: Bench, kills: int, found: bool) -> None:
    record = await bench.add("c1")
    bench.count("c1", kills)
    assert await bench.killed(record) == found


@pytest.mark.parametrize(
    ("others", "total", "found"),
    [
        (0, 5, False),  # nothing since it was started
        (0, 6, True),
        (1, 6, False),  # the other container's, which runs on
        (1, 7, True),
    ],
)
async def test_its_pods_slice_when_it_is_gone(bench: Bench, others: int, total: int, found: bool) -> None:
    """systemd was faster than conmon: what the slice counts more is this container's, but for what others count."""
    record = await bench.add("c1", oom_kills_before=await before_start(bench.node, container(cgroup=scope("c1"))))
    await bench.add("c2")
    bench.count("c2", others)
    shutil.rmtree(bench.root / scope("c1")[1:])
    bench.count("", total)
    assert await bench.killed(record) == found


@pytest.mark.parametrize(("finished_at", "found"), [(19, True), (20, False)])
async def test_one_that_ended_so_meanwhile_may_have_been_it(bench: Bench, finished_at: int, found: bool) -> None:
    """Both groups are gone: only one that ended before this began is told apart."""
    record = await bench.add("c1", oom_kills_before=5, started_at=20)
    await bench.add("c2", state=ContainerState.EXITED, reason=OOM_KILLED, finished_at=finished_at)
    shutil.rmtree(bench.root / scope("c1")[1:])
    bench.count("", 6)
    assert await bench.killed(record) == found


async def test_a_record_of_an_older_version_says_no(bench: Bench) -> None:
    """What the slice had counted at its start nobody wrote down: an earlier container's kill would be its own."""
    record = await bench.add("c1")
    shutil.rmtree(bench.root / scope("c1")[1:])
    assert not await bench.killed(record)


async def test_a_pod_or_slice_that_is_gone_says_no(bench: Bench) -> None:
    record = await bench.add("c1", oom_kills_before=0)
    shutil.rmtree(bench.slice)
    assert not await bench.killed(record)
    await bench.node.pods.remove("p1")
    assert not await bench.killed(record)


async def test_without_systemd_the_slice_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody but the runtime removes a group then, after the end is recorded."""
    monkeypatch.setattr(cgroups, "hierarchies", lambda: {"unified": tmp_path / "cgroup"})
    bench = Bench(tmp_path)
    await bench.node.pods.add(pod(cgroup_parent=f"/crishim.slice/{SLICE}"))
    bench.count("", 6)
    assert await before_start(bench.node, container()) is None
    assert not await bench.killed(await bench.add("c1", cgroup="/pods/p1/c1"))


def test_v1_counts_in_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """memory.oom_control; a hierarchy without memory, and a file without the count, say nothing."""
    monkeypatch.setattr(cgroups, "hierarchies", lambda: {"cpu": tmp_path / "cpu", "memory": tmp_path / "memory"})
    for name in ("cpu", "memory"):
        (tmp_path / name / "g").mkdir(parents=True)
    assert oom_kills.count("/g") is None
    control = tmp_path / "memory/g/memory.oom_control"
    control.write_text("oom_kill_disable 0\nunder_oom 0\n")
    assert oom_kills.count("/g") is None
    control.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert oom_kills.count("/g") == 2
