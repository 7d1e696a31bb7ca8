"""Who a container is and what it may do: users, groups, profiles, scores and limits."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from crishim.linux import cgroups
from crishim.pb import cri_pb2 as cri
from crishim.spec.inputs import Host
from tests.support.daemon import Daemon
from tests.support.pods import container_config, create, execute, pod_config, remove_pod, run_pod, start, status

pytestmark = pytest.mark.node
Code = grpc.StatusCode
Profile = cri.SecurityProfile


@pytest.fixture(params=["crun", "runc"])
def pod(daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[str]:
    id = run_pod(daemon, handler=request.param)
    yield id
    remove_pod(daemon, id)


def context(config: cri.ContainerConfig, **fields: Any) -> cri.ContainerConfig:
    config.linux.security_context.MergeFrom(cri.LinuxContainerSecurityContext(**fields))
    return config


def refusal(daemon: Daemon, pod: str, config: cri.ContainerConfig) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        create(daemon, pod, config)
    return caught.value.code(), caught.value.details()


@pytest.mark.fact("supplemental groups")
@pytest.mark.parametrize("policy", [cri.Merge, cri.Strict])
def test_supplemental_groups(daemon: Daemon, pod: str, policy: int) -> None:
    """Supplemental groups: the primary gid is among them in the status; exec'd processes have the same ones."""
    config = context(
        container_config(),
        run_as_user=cri.Int64Value(value=1000),
        run_as_group=cri.Int64Value(value=2000),
        supplemental_groups=[3000, 3001],
        supplemental_groups_policy=policy,
    )
    one = start(daemon, pod, config)
    user = status(daemon, one).user.linux
    assert (user.uid, user.gid) == (1000, 2000)
    assert sorted(user.supplemental_groups) == [2000, 3000, 3001]
    own = execute(daemon, one, "grep", "-E", "^(Uid|Gid|Groups):", "/proc/1/status")[1]
    assert own.splitlines()[-1].split()[1:] == ["2000", "3000", "3001"]
    assert execute(daemon, one, "grep", "-E", "^(Uid|Gid|Groups):", "/proc/self/status")[1] == own


@pytest.mark.fact("run_as_group")
def test_a_group_without_user(daemon: Daemon, pod: str) -> None:
    """run_as_group: without run_as_user and run_as_username it is an error of the container."""
    code, text = refusal(daemon, pod, context(container_config(), run_as_group=cri.Int64Value(value=5)))
    assert code == Code.INVALID_ARGUMENT
    assert "run_as_group" in text


def seccomp_mode(daemon: Daemon, pod: str, name: str, **fields: Any) -> str:
    """The Seccomp line of the process: 0 none, 2 filter."""
    one = start(daemon, pod, context(container_config(name), **fields))
    text = execute(daemon, one, "grep", "^Seccomp:", "/proc/1/status")[1]
    daemon.call("RemoveContainer", container_id=one)
    return text.split()[1]


@pytest.mark.fact("seccomp, AppArmor, SELinux")
def test_seccomp_precedence(daemon: Daemon, pod: str) -> None:
    """seccomp: nil is unconfined, an empty struct the runtime's default, and the field wins over the old path."""
    unconfined = Profile(profile_type=Profile.Unconfined)
    assert seccomp_mode(daemon, pod, "nil") == "0"
    assert seccomp_mode(daemon, pod, "empty", seccomp=Profile()) == "2"
    assert seccomp_mode(daemon, pod, "old", seccomp_profile_path="runtime/default") == "2"
    both = seccomp_mode(daemon, pod, "both", seccomp=unconfined, seccomp_profile_path="runtime/default")
    assert both == "0"
    assert seccomp_mode(daemon, pod, "other", seccomp=Profile(), seccomp_profile_path="unconfined") == "2"


@pytest.mark.fact("seccomp, AppArmor, SELinux")
def test_privileged_ignores_seccomp(daemon: Daemon) -> None:
    """seccomp: a privileged container has none, whatever it asks for."""
    sandbox = pod_config()
    sandbox.linux.security_context.privileged = True
    pod = run_pod(daemon, sandbox)
    assert seccomp_mode(daemon, pod, "p", privileged=True, seccomp=Profile()) == "0"
    remove_pod(daemon, pod)


@pytest.mark.fact("seccomp, AppArmor, SELinux")
def test_apparmor(daemon: Daemon, pod: str) -> None:
    """AppArmor: a profile that is not loaded, by field or old string, fails in CreateContainer; the field wins."""
    unloaded = Profile(profile_type=Profile.Localhost, localhost_ref="crishim-not-loaded")
    for fields in ({"apparmor": unloaded}, {"apparmor_profile": "localhost/crishim-not-loaded"}):
        code, text = refusal(daemon, pod, context(container_config(), **fields))
        assert code == Code.FAILED_PRECONDITION
        assert "crishim-not-loaded" in text
    unconfined = Profile(profile_type=Profile.Unconfined)
    for number, field in enumerate((unconfined, Profile())):
        config = context(
            container_config(f"wins{number}"), apparmor=field, apparmor_profile="localhost/crishim-not-loaded"
        )
        start(daemon, pod, config)


@pytest.mark.fact("seccomp, AppArmor, SELinux")
def test_a_malformed_selinux_level(daemon: Daemon, pod: str) -> None:
    """SELinux: a malformed label fails in CreateContainer, on hosts without SELinux too."""
    code, text = refusal(daemon, pod, context(container_config(), selinux_options=cri.SELinuxOption(level="nonsense")))
    assert code == Code.INVALID_ARGUMENT
    assert "nonsense" in text


@pytest.mark.fact("hugepages, unified, swap, cpuset, oom_score_adj")
def test_oom_score(daemon: Daemon, pod: str) -> None:
    """oom_score_adj: what the daemon may not set is clamped, and the log says so once for any number of containers."""
    own = int(Path("/proc/self/oom_score_adj").read_text())
    config = container_config()
    config.linux.resources.oom_score_adj = -998
    for attempt in range(2):
        config.metadata.attempt = attempt
        one = start(daemon, pod, config)
        given = int(execute(daemon, one, "cat", "/proc/1/oom_score_adj")[1])
        assert -998 <= given <= max(own, -998)
        assert status(daemon, one).resources.linux.oom_score_adj == -998
    said = [line for line in daemon.logged() if "oom_score_adj -998" in line["message"]]
    assert len(said) == (0 if given == -998 else 1)


@pytest.mark.fact("hugepages, unified, swap, cpuset, oom_score_adj")
def test_limits_at_create(daemon: Daemon, pod: str) -> None:
    """Resources: hugepage_limits, memory and swap, cpuset and unified of CreateContainer are in force and shown."""
    config = container_config()
    wanted = config.linux.resources
    wanted.memory_limit_in_bytes = 64 << 20
    wanted.memory_swap_limit_in_bytes = 96 << 20
    wanted.cpuset_cpus = "0"
    v2 = cgroups.version() == 2
    huge = "hugetlb" in Host.probe().controllers
    if huge:
        wanted.hugepage_limits.add(page_size="2MB", limit=4 << 20)
    if v2:
        wanted.unified["memory.high"] = str(32 << 20)
    one = start(daemon, pod, config)
    assert status(daemon, one).resources.linux == wanted
    path = json.loads(daemon.call("ContainerStatus", container_id=one, verbose=True).info["info"])["cgroup"]

    def file(name: str) -> str:
        return next(d / name for d in cgroups.directories(path) if (d / name).exists()).read_text().strip()

    assert file("memory.max" if v2 else "memory.limit_in_bytes") == str(64 << 20)
    assert file("cpuset.cpus") == "0"
    if huge:
        assert file("hugetlb.2MB.max" if v2 else "hugetlb.2MB.limit_in_bytes") == str(4 << 20)
    if v2:
        assert file("memory.high") == str(32 << 20)
    elif Path("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists():
        assert file("memory.memsw.limit_in_bytes") == str(96 << 20)


@pytest.mark.fact("hugepages, unified, swap, cpuset, oom_score_adj")
def test_unified_on_v1(daemon: Daemon, pod: str) -> None:
    """unified: where there is no cgroup v2 it cannot be in force, and is refused rather than forgotten."""
    config = container_config()
    config.linux.resources.unified["memory.high"] = str(32 << 20)
    if cgroups.version() == 2:
        start(daemon, pod, config)
    else:
        began = time.monotonic()
        assert refusal(daemon, pod, config)[0] in (Code.FAILED_PRECONDITION, Code.INVALID_ARGUMENT)
        assert time.monotonic() - began < 10
