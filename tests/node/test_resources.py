"""Resource updates of real containers, under each runtime."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from crishim.linux import cgroups
from crishim.pb import cri_pb2 as cri
from crishim.spec.inputs import Host
from tests.support.daemon import Daemon
from tests.support.pods import container_config, create, remove_pod, run_pod, start, status

pytestmark = pytest.mark.node
R = cri.LinuxContainerResources
MIB = 1 << 20
V2 = cgroups.version() == 2


@pytest.fixture(params=["crun", "runc"])
def pod(daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[str]:
    id = run_pod(daemon, handler=request.param)
    yield id
    remove_pod(daemon, id)


def update(daemon: Daemon, container: str, **fields: Any) -> None:
    daemon.call("UpdateContainerResources", container_id=container, linux=R(**fields))


def refused(call: Callable[[], object]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code()


def recorded(daemon: Daemon, container: str) -> cri.LinuxContainerResources:
    return status(daemon, container).resources.linux


class Limits:
    """A container's limits as the kernel has them, named alike on v1 and v2."""

    def __init__(self, daemon: Daemon, container: str) -> None:
        info = daemon.call("ContainerStatus", container_id=container, verbose=True).info["info"]
        self.cgroup = json.loads(info)["cgroup"]

    def file(self, name: str) -> str:
        found = [d / name for d in cgroups.directories(self.cgroup) if (d / name).exists()]
        assert found, f"no {name} of {self.cgroup}"
        return found[0].read_text().strip()

    @property
    def memory(self) -> str:
        return self.file("memory.max" if V2 else "memory.limit_in_bytes")

    @property
    def quota(self) -> str:
        return self.file("cpu.max").split()[0] if V2 else self.file("cpu.cfs_quota_us").replace("-1", "max")

    @property
    def shares(self) -> str:
        return self.file("cpu.weight" if V2 else "cpu.shares")

    @property
    def cpus(self) -> str:
        return self.file("cpuset.cpus")

    @property
    def huge_pages(self) -> str:
        return self.file("hugetlb.2MB.max" if V2 else "hugetlb.2MB.limit_in_bytes")

    def all(self) -> list[str]:
        return [self.memory, self.quota, self.shares, self.cpus, *(str(v) for v in self.oom_scores().values())]

    def oom_scores(self) -> dict[int, int]:
        found = {}
        for pid in sorted(cgroups.processes(self.cgroup)):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the shell's sleep has ended
                found[pid] = int(Path(f"/proc/{pid}/oom_score_adj").read_text())
        return found


@pytest.mark.fact("UpdateContainerResources")
@pytest.mark.parametrize("begin", [create, start])
def test_limits_are_in_force_when_the_call_returns(daemon: Daemon, pod: str, begin: Callable[..., str]) -> None:
    """Row UpdateContainerResources: synchronous, before the start too; what is not given stays."""
    config = container_config()
    config.linux.resources.CopyFrom(R(cpu_shares=512, memory_limit_in_bytes=64 * MIB, oom_score_adj=700))
    container = begin(daemon, pod, config)
    limits = Limits(daemon, container)
    shares = limits.shares
    update(daemon, container, cpu_quota=50000, cpu_period=100000)
    assert (limits.quota, limits.memory, limits.shares) == ("50000", str(64 * MIB), shares)
    update(daemon, container, memory_limit_in_bytes=128 * MIB, cpuset_cpus="0", cpu_shares=1024)
    assert (limits.memory, limits.cpus) == (str(128 * MIB), "0")
    assert limits.shares != shares
    update(daemon, container, memory_limit_in_bytes=32 * MIB)
    assert limits.memory == str(32 * MIB)
    update(daemon, container, cpu_quota=-1)
    assert limits.quota == "max"
    assert recorded(daemon, container) == R(
        cpu_shares=1024,
        cpu_quota=-1,
        cpu_period=100000,
        memory_limit_in_bytes=32 * MIB,
        cpuset_cpus="0",
        oom_score_adj=700,
    )


@pytest.mark.fact("UpdateContainerResources")
def test_memory_and_swap(daemon: Daemon, pod: str) -> None:
    """Memory and swap move together in either direction."""
    config = container_config()
    config.linux.resources.CopyFrom(R(memory_limit_in_bytes=64 * MIB, memory_swap_limit_in_bytes=64 * MIB))
    container = start(daemon, pod, config)
    limits = Limits(daemon, container)
    update(daemon, container, memory_limit_in_bytes=128 * MIB)
    assert limits.memory == str(128 * MIB)
    assert recorded(daemon, container).memory_swap_limit_in_bytes == 128 * MIB
    update(daemon, container, memory_limit_in_bytes=32 * MIB, memory_swap_limit_in_bytes=48 * MIB)
    if not V2:
        assert limits.file("memory.memsw.limit_in_bytes") == str(48 * MIB)
    found = daemon.call("ContainerStats", container_id=container).stats.swap
    assert found.swap_available_bytes.value == 16 * MIB


@pytest.mark.fact("UpdateContainerResources")
@pytest.mark.skipif("hugetlb" not in Host.probe().controllers, reason="no hugetlb cgroup controller is mounted here")
def test_huge_pages(daemon: Daemon, pod: str) -> None:
    """Huge pages are limited under every runtime, and recorded."""
    container = start(daemon, pod)
    update(daemon, container, hugepage_limits=[cri.HugepageLimit(page_size="2MB", limit=4 * MIB)])
    assert Limits(daemon, container).huge_pages == str(4 * MIB)
    (pages,) = recorded(daemon, container).hugepage_limits
    assert (pages.page_size, pages.limit) == ("2MB", 4 * MIB)


@pytest.mark.fact("UpdateContainerResources")
@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"cpuset_cpus": "9999"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"oom_score_adj": 1001}, grpc.StatusCode.INVALID_ARGUMENT),
        (
            {"hugepage_limits": [cri.HugepageLimit(page_size="3MB", limit=1)]},
            grpc.StatusCode.FAILED_PRECONDITION,
        ),
        pytest.param(
            {"memory_limit_in_bytes": 4096},
            grpc.StatusCode.FAILED_PRECONDITION,
            marks=pytest.mark.skipif(V2, reason="cgroup v2 takes a limit below the usage and reclaims"),
        ),
        pytest.param(
            {"unified": {"memory.high": "100000"}},
            grpc.StatusCode.FAILED_PRECONDITION,
            marks=pytest.mark.skipif(V2, reason="cgroup v2 has unified files"),
        ),
    ],
)
def test_an_update_that_fails_changes_nothing(
    daemon: Daemon, pod: str, wrong: dict[str, Any], code: grpc.StatusCode
) -> None:
    """All or nothing: the good values beside a bad one are not in force either, nor recorded."""
    config = container_config()
    config.linux.resources.CopyFrom(R(cpu_shares=512, memory_limit_in_bytes=64 * MIB, oom_score_adj=500))
    container = start(daemon, pod, config)
    limits = Limits(daemon, container)
    before, record = limits.all(), recorded(daemon, container)
    fields = {"cpu_shares": 2048, "cpu_quota": 30000, "cpu_period": 100000, "oom_score_adj": 800} | wrong
    assert refused(lambda: update(daemon, container, **fields)) == code
    # crun makes the quota's period explicit and a shell may have forked: compare what the client set
    assert limits.all()[:4] == before[:4]
    assert set(limits.oom_scores().values()) == {500}
    assert recorded(daemon, container) == record


@pytest.mark.fact("UpdateContainerResources")
def test_oom_scores_of_all_processes(daemon: Daemon, pod: str) -> None:
    """Row UpdateContainerResources: oom_score_adj included, for every process, clamped to what the daemon may set."""
    config = container_config(command=["sh", "-c", "sleep 1000 & sleep 1000 & exec sleep 1000"])
    config.linux.resources.oom_score_adj = 500
    container = start(daemon, pod, config)
    limits = Limits(daemon, container)
    update(daemon, container, oom_score_adj=900)
    assert set(limits.oom_scores().values()) == {900}
    update(daemon, container, oom_score_adj=600)
    assert set(limits.oom_scores().values()) == {600}
    update(daemon, container, oom_score_adj=-999)
    (given,) = set(limits.oom_scores().values())
    assert -999 <= given <= max(int(Path("/proc/self/oom_score_adj").read_text()), -999)
    assert recorded(daemon, container).oom_score_adj == -999


def test_only_living_containers(daemon: Daemon, pod: str) -> None:
    """An ended container is refused, an unknown one not found, and nothing given is no error."""
    container = start(daemon, pod)
    update(daemon, container)
    daemon.call("StopContainer", container_id=container, timeout=0)
    assert refused(lambda: update(daemon, container, cpu_shares=2)) == grpc.StatusCode.FAILED_PRECONDITION
    assert refused(lambda: update(daemon, "ff00ff", cpu_shares=2)) == grpc.StatusCode.NOT_FOUND


@pytest.mark.fact("UpdatePodSandboxResources")
def test_pod_resources_are_recorded_and_shown(daemon: Daemon, pod: str) -> None:
    """Row UpdatePodSandboxResources: record and reflect; a part that is not given stays."""
    daemon.call("UpdatePodSandboxResources", pod_sandbox_id=pod, overhead=R(memory_limit_in_bytes=MIB))
    daemon.call("UpdatePodSandboxResources", pod_sandbox_id=pod, resources=R(cpu_shares=77, unified={"a.b": "c"}))
    info = json.loads(daemon.call("PodSandboxStatus", pod_sandbox_id=pod, verbose=True).info["info"])
    assert info["overhead"] == {"memoryLimitInBytes": str(MIB)}
    assert info["resources"] == {"cpuShares": "77", "unified": {"a.b": "c"}}
    unknown: dict[str, Any] = {"pod_sandbox_id": "ff00ff", "resources": R(cpu_shares=1)}
    assert refused(lambda: daemon.call("UpdatePodSandboxResources", **unknown)) == grpc.StatusCode.NOT_FOUND
