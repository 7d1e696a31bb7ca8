"""cgroup v2 with either driver, under crun and runc: a kubelet's groups, unified settings, OOM of a whole group."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.support.daemon import Daemon, eventually
from tests.support.pods import container_config, pod_config, remove_pod, run_pod, start, status, wait_exited

MIB = 1 << 20
ROOT = Path("/sys/fs/cgroup")
UID = "8ad4b1c2-6c0e-4a51-9d7b-0d5a3f6f5f11"


def parent(daemon: Daemon, qos: str) -> str:
    """What a kubelet names as the cgroup of a pod of this class, with the driver it was told."""
    driver = daemon.call("RuntimeConfig").linux.cgroup_driver
    if driver == cri.SYSTEMD:
        name = f"kubepods-{qos}-pod{UID.replace('-', '_')}.slice"
        return f"/kubepods.slice/kubepods-{qos}.slice/{name}"
    return f"/kubepods/{qos}/pod{UID}"


@pytest.fixture(params=["crun", "runc"])
def pod(daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[str]:
    """A burstable pod, in a group that is made as a kubelet makes it."""
    group = parent(daemon, "burstable")
    if not group.endswith(".slice"):
        (ROOT / group[1:]).mkdir(parents=True, exist_ok=True)
    config = pod_config()
    config.linux.cgroup_parent = group
    id = run_pod(daemon, config, handler=request.param)
    yield id
    remove_pod(daemon, id)


def group_of(daemon: Daemon, container: str) -> Path:
    """The cgroup that the kernel has for the container's first process."""
    pid = json.loads(daemon.call("ContainerStatus", container_id=container, verbose=True).info["info"])["pid"]
    (line,) = [x for x in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if x.startswith("0::")]
    return ROOT / line.removeprefix("0::/")


def test_a_container_is_below_its_pod(daemon: Daemon, pod: str) -> None:
    """Where the kubelet looks for it; its own limits, the ones it names itself in `unified` too."""
    config = container_config()
    resources = config.linux.resources
    resources.cpu_shares, resources.cpu_quota, resources.cpu_period = 512, 50000, 100000
    resources.memory_limit_in_bytes = 64 * MIB
    resources.unified["memory.high"] = str(48 * MIB)
    resources.unified["memory.oom.group"] = "1"
    group = group_of(daemon, start(daemon, pod, config))
    assert str(group).startswith(str(ROOT) + parent(daemon, "burstable") + "/")
    found = {n: (group / n).read_text().strip() for n in ("cpu.max", "memory.max", "memory.high", "memory.oom.group")}
    expected = {"cpu.max": "50000 100000", "memory.max": str(64 * MIB), "memory.high": str(48 * MIB)}
    assert found == expected | {"memory.oom.group": "1"}
    assert 1 < int((group / "cpu.weight").read_text()) < 100  # of 512 shares: the runtimes' formulas differ


@pytest.fixture
def limited(daemon: Daemon, pod: str) -> tuple[str, Path]:
    """A container with a memory limit of 64 MiB, and its group."""
    config = container_config()
    config.linux.resources.memory_limit_in_bytes = 64 * MIB
    container = start(daemon, pod, config)
    return container, group_of(daemon, container)


def wanted() -> cri.LinuxContainerResources:
    return cri.LinuxContainerResources(memory_limit_in_bytes=128 * MIB, cpu_quota=20000, cpu_period=100000)


def test_an_update_is_in_force_and_lasts(daemon: Daemon, limited: tuple[str, Path]) -> None:
    """UpdateContainerResources; with systemd it is still there after systemd has read its units again."""
    container, group = limited
    daemon.call("UpdateContainerResources", container_id=container, linux=wanted())
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert (group / "memory.max").read_text().strip() == str(128 * MIB)
    assert (group / "cpu.max").read_text().strip() == "20000 100000"


def test_an_update_that_fails_leaves_nothing(daemon: Daemon, limited: tuple[str, Path]) -> None:
    """Half of it was in force: the old limits are, and with systemd still after it has read its units again."""
    container, group = limited
    update = wanted()
    update.hugepage_limits.add(page_size="3MB", limit=1)
    with pytest.raises(grpc.RpcError, match="huge pages"):
        daemon.call("UpdateContainerResources", container_id=container, linux=update)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert (group / "memory.max").read_text().strip() == str(64 * MIB)
    assert (group / "cpu.max").read_text().split()[0] == "max"


def test_statistics_are_the_kernels(daemon: Daemon, pod: str) -> None:
    """Memory, CPU, pressure and io of the pod's own group and of the container's."""
    container = start(daemon, pod)
    group = group_of(daemon, container)
    eventually(
        lambda: daemon.call("ContainerStats", container_id=container).stats.memory.usage_bytes.value, "it is counted"
    )
    found = daemon.call("ContainerStats", container_id=container).stats
    assert found.cpu.usage_core_nano_seconds.value > 0
    assert found.memory.working_set_bytes.value > 0
    assert found.cpu.HasField("psi") == found.io.HasField("psi") == (group / "cpu.pressure").exists()
    of_pod = daemon.call("PodSandboxStats", pod_sandbox_id=pod).stats.linux
    (inside,) = of_pod.containers  # of the same moment: between two the kernel reclaims
    assert of_pod.memory.usage_bytes.value >= inside.memory.rss_bytes.value > 0
    assert of_pod.process.process_count.value >= 1


def test_out_of_memory_ends_the_whole_group(daemon: Daemon, pod: str) -> None:
    """memory.oom.group, as the kubelet asks for it: the shell that is not to blame dies too, and the reason is told."""
    hog = "(head -c 200000000 /dev/zero | tail -c 200000000 > /dev/null); while :; do sleep 1; done"
    config = container_config(command=["sh", "-c", hog])
    config.linux.resources.memory_limit_in_bytes = 32 * MIB
    config.linux.resources.memory_swap_limit_in_bytes = 32 * MIB
    config.linux.resources.unified["memory.oom.group"] = "1"
    container = start(daemon, pod, config)
    ended = wait_exited(daemon, container)
    assert (ended.reason, ended.exit_code) == ("OOMKilled", 137)
    assert status(daemon, container).state == cri.CONTAINER_EXITED
