"""UpdateContainerResources with a runtime that is a short script; the real ones are in the node tests."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from crishim.engine.handlers import Handlers
from crishim.engine.runtime import Runtime
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState
from crishim.linux import cgroups
from crishim.operations.update_container import kind_of_refusal, update_container
from crishim.pb import cri_pb2 as cri
from crishim.spec.inputs import Host
from tests.support.nodes import make_node
from tests.unit.cri.records import container

R = cri.LinuxContainerResources
CONTROLLERS = frozenset({"cpu", "cpuset", "memory", "pids", "hugetlb"})


class Bench:
    """A container with a v2 group of plain files, and a runtime that writes one of them and then fails if told to."""

    def __init__(self, tmp_path: Path) -> None:
        self.group = tmp_path / "cgroup/pods/p1/c1"
        self.group.mkdir(parents=True)
        for name, text in {
            "cpu.weight": "20",
            "cpu.max": "20000 100000",
            "memory.max": "64",
            "memory.high": "max",
        }.items():
            (self.group / name).write_text(text)
        (self.group / "hugetlb.2MB.max").write_text("max")
        self.asked = tmp_path / "asked"
        self.fail = tmp_path / "fail"
        self.said: list[str] = []
        program = tmp_path / "runtime"
        program.write_text(
            f"#!/bin/sh\ncat > {self.asked}\necho 999 > {self.group}/cpu.weight\n"
            f"[ ! -e {self.fail} ] || {{ cat {self.fail} >&2; exit 1; }}\n"
        )
        program.chmod(0o755)
        self.handlers = Handlers({"crun": Runtime("crun", str(program), tmp_path / "root", timeout=10)}, "crun")
        self.node = make_node(tmp_path, handlers=self.handlers, launcher=self)
        self.containers = self.node.containers

    def say_once(self, notes: list[str], id: str) -> None:
        self.said.extend(notes)

    async def add(self, state: ContainerState = ContainerState.RUNNING) -> None:
        resources = R(cpu_shares=512, memory_limit_in_bytes=64, oom_score_adj=500)
        await self.containers.add(container(state=state, resources=resources))

    async def update(self, controllers: frozenset[str] = CONTROLLERS, **fields: Any) -> None:
        host = Host(cgroup_version=2, controllers=controllers, oom_floor=-1000)
        await update_container(dataclasses.replace(self.node, host=host), "c1", R(**fields))

    def recorded(self) -> cri.LinuxContainerResources:
        return R.FromString(self.containers.find("c1").resources)

    def files(self) -> dict[str, str]:
        return {path.name: path.read_text().strip() for path in self.group.iterdir()}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(cgroups, "hierarchies", lambda: {"unified": tmp_path / "cgroup"})
    return Bench(tmp_path)


@pytest.mark.parametrize("state", [ContainerState.CREATED, ContainerState.RUNNING])
async def test_what_is_given_is_merged_and_recorded(bench: Bench, state: ContainerState) -> None:
    """Also before the start; what is not given stays in force."""
    await bench.add(state)
    await bench.update(cpu_shares=1024)
    assert bench.recorded() == R(cpu_shares=1024, memory_limit_in_bytes=64, oom_score_adj=500)
    asked = json.loads(bench.asked.read_text())
    assert asked == {"cpu": {"shares": 1024}, "memory": {"limit": 64, "swap": 64}}


async def test_a_failure_puts_everything_back(bench: Bench) -> None:
    """All or nothing: what the runtime wrote before it failed is undone, the record keeps what is in force."""
    await bench.add()
    before = bench.files()
    bench.fail.write_text("writing file `memory.max`: Device or resource busy")
    with pytest.raises(CrishimError) as caught:
        await bench.update(cpu_shares=1024)
    assert caught.value.kind is Kind.PRECONDITION
    assert bench.files() == before
    assert bench.recorded().cpu_shares == 512


async def test_a_failure_puts_the_units_properties_back(bench: Bench) -> None:
    """With the systemd driver the runtime is told the former values, last of all: the unit has new ones by then."""
    bench.handlers.get("crun").systemd = True
    await bench.add()
    with pytest.raises(CrishimError, match="huge pages of 3MB"):
        await bench.update(
            cpu_shares=1024, cpu_quota=5000, hugepage_limits=[cri.HugepageLimit(page_size="3MB", limit=1)]
        )
    asked = json.loads(bench.asked.read_text())
    assert asked == {"cpu": {"shares": 512, "quota": -1}, "memory": {"limit": 64, "swap": 64}}
    assert bench.files()["cpu.weight"] == "20"


async def test_huge_pages_are_part_of_all_or_nothing(bench: Bench) -> None:
    """A page size that cannot be limited undoes what the runtime did."""
    await bench.add()
    before = bench.files()
    with pytest.raises(CrishimError, match="huge pages of 3MB"):
        await bench.update(cpu_shares=1024, hugepage_limits=[cri.HugepageLimit(page_size="3MB", limit=1)])
    assert bench.files() == before


async def test_huge_pages_are_written_though_no_runtime_does(bench: Bench) -> None:
    """runc's update knows none: they are not passed to it."""
    await bench.add()
    await bench.update(hugepage_limits=[cri.HugepageLimit(page_size="2MB", limit=4194304)])
    assert bench.files()["hugetlb.2MB.max"] == "4194304"
    assert "hugepageLimits" not in json.loads(bench.asked.read_text())


async def test_huge_pages_without_their_controller(bench: Bench) -> None:
    """A limit that would not be in force is refused; the zeros the kubelet sends for every size are not."""
    await bench.add()
    without = CONTROLLERS - {"hugetlb"}
    with pytest.raises(CrishimError, match="hugetlb controller is not there"):
        await bench.update(without, hugepage_limits=[cri.HugepageLimit(page_size="2MB", limit=4194304)])
    await bench.update(without, hugepage_limits=[cri.HugepageLimit(page_size="2MB", limit=0)], cpu_shares=5)


async def test_an_unlimited_quota_is_written_by_us(bench: Bench) -> None:
    """crun 1.8 cannot say it."""
    await bench.add()
    await bench.update(cpu_quota=-1, cpu_period=50000)
    assert bench.files()["cpu.max"] == "max 50000"
    assert "quota" not in json.loads(bench.asked.read_text())["cpu"]


@pytest.mark.fact("UpdateContainerResources")
async def test_unified_reaches_the_runtime_and_is_undone(bench: Bench) -> None:
    """v2's own files are saved, too."""
    await bench.add()
    await bench.update(unified={"memory.high": "32"})
    assert json.loads(bench.asked.read_text())["unified"] == {"memory.high": "32"}
    assert dict(bench.recorded().unified) == {"memory.high": "32"}


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"oom_score_adj": 1001}, Kind.INVALID),
        ({"memory_limit_in_bytes": 100, "memory_swap_limit_in_bytes": 50}, Kind.INVALID),
        ({"unified": {"../cpu.max": "1"}}, Kind.INVALID),
    ],
)
async def test_values_that_cannot_be_are_refused_before_anything_is_done(
    bench: Bench, fields: dict[str, Any], kind: Kind
) -> None:
    """The runtime is not even called."""
    await bench.add()
    with pytest.raises(CrishimError) as caught:
        await bench.update(cpu_shares=1024, **fields)
    assert caught.value.kind is kind
    assert not bench.asked.exists()
    assert bench.recorded().cpu_shares == 512


async def test_an_oom_score_alone_does_not_call_the_runtime(bench: Bench) -> None:
    """It is no cgroup limit; the record has it."""
    await bench.add()
    await bench.update(oom_score_adj=600)
    assert bench.recorded().oom_score_adj == 600
    assert not bench.asked.exists()


@pytest.mark.parametrize("state", [ContainerState.EXITED, ContainerState.REMOVING, ContainerState.CREATING])
async def test_only_containers_with_a_process_can_be_updated(bench: Bench, state: ContainerState) -> None:
    """An ended one is refused: the limits would be nobody's."""
    await bench.add(state)
    with pytest.raises(CrishimError) as caught:
        await bench.update(cpu_shares=1024)
    assert caught.value.kind is Kind.PRECONDITION


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("writing file `cpuset.cpus`: Numerical result out of range", Kind.INVALID),
        ("write /sys/x: invalid argument", Kind.INVALID),
        ("unable to set memory limit to 4096", Kind.PRECONDITION),
        ("something else", Kind.INTERNAL),
    ],
)
def test_whose_fault_a_refusal_is(said: str, kind: Kind) -> None:
    """The kernel's word decides the gRPC code."""
    assert kind_of_refusal(CrishimError(Kind.INTERNAL, said)) is kind
