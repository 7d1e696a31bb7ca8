"""What a config.json is made from, in one frozen value: the request, the pod, the image, and facts of this host.

Editors do not read these themselves, so that a test can give others.
"""

import os
import platform
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from crishim import model
from crishim.linux import apparmor, capabilities
from crishim.pb import cri_pb2 as cri
from crishim.spec.capability_names import CAPABILITIES
from crishim.spec.mounts import Prepared

Spec = dict[str, Any]  # the OCI runtime specification's JSON object

_CGROUP_ROOT: Final = Path("/sys/fs/cgroup")


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of this host and of the daemon's own process; `Host.probe()` reads them."""

    cgroup_version: int = 2  # 1 or 2 (hybrid counts as 1: that is what the runtimes use there)
    controllers: frozenset[str] = frozenset({"cpu", "cpuset", "memory", "pids"})
    swap: bool = True  # the kernel accounts for swap: memory.memsw.* (v1), memory.swap.max (v2)
    apparmor: bool = False
    apparmor_profiles: str = "/sys/kernel/security/apparmor/profiles"  # the loaded profiles, one a line
    apparmor_default: str = ""  # loaded profile of RuntimeDefault; "": none, containers run unconfined
    selinux: bool = False
    seccomp: bool = True
    capabilities: frozenset[str] = frozenset(CAPABILITIES)  # what the daemon holds, CAP_ names
    rlimits: Mapping[str, tuple[int, int]] = msgspec.field(
        default_factory=dict
    )  # RLIMIT_ name: soft, hard; for containers
    oom_floor: int = -1000  # lowest oom_score_adj the daemon may set
    machine: str = "x86_64"  # uname -m
    kernel: tuple[int, int] = (6, 1)

    @classmethod
    def probe(cls, **known: Any) -> "Host":
        """Read the facts. Blocks briefly; call it once, at start. `known` overrides facts."""
        held = capabilities.held()
        facts: dict[str, Any] = {
            "cgroup_version": 2 if (_CGROUP_ROOT / "cgroup.controllers").exists() else 1,
            "controllers": _controllers(),
            "swap": _counts_swap(),
            "apparmor": apparmor.enabled(),
            "selinux": Path("/sys/fs/selinux/enforce").exists(),
            "seccomp": Path("/proc/sys/kernel/seccomp/actions_avail").exists(),
            "capabilities": held,
            "rlimits": {"RLIMIT_NOFILE": resource.getrlimit(resource.RLIMIT_NOFILE)},
            "oom_floor": _oom_floor(held),
            "machine": platform.machine(),
            "kernel": _kernel_version(os.uname().release),
        }
        return cls(**(facts | known))


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a container's spec depends on. Paths are absolute host paths; "" is "not given"."""

    container_id: str
    config: cri.ContainerConfig
    pod: cri.PodSandboxConfig
    record: model.PodRecord
    image: Mapping[str, Any]  # OCI image configuration: {"config": {"Env": [...], ...}}
    rootfs: str  # mounted: /etc/passwd and /etc/group are read below it
    cgroups_path: str  # linux.cgroupsPath, in the form of the cgroup driver
    host: Host
    features: Mapping[str, Any] | None = None  # `runtime features`; None: a runtime without that command
    target: str = ""  # for the pid mode TARGET: path of the target container's PID namespace
    mounts: tuple[Prepared, ...] = ()  # of mounts.resolve()
    hostname: str = ""  # for the variable HOSTNAME; the pod's UTS namespace has it already
    hostname_path: str = ""  # /etc/hostname, /etc/hosts, /etc/resolv.conf, unless the container mounts its own
    hosts_path: str = ""
    resolv_conf_path: str = ""
    shm_path: str = ""  # the pod's /dev/shm; "": the host's with host IPC, else a tmpfs of its own
    pids_limit: int = 0  # 0: none
    launcher: str = ""  # a static busybox on this host, for variables that are not UTF-8; see command.py


@dataclass(kw_only=True)
class Draft:
    """A spec that is being built: editors change `spec` and `user`, and add `notes` for the log."""

    spec: Spec
    user: model.User = field(default_factory=lambda: model.User(uid=0, gid=0, groups=(0,)))
    notes: list[str] = field(default_factory=list)


Editor = Callable[[Draft, Inputs], None]


def security_context(inputs: Inputs) -> cri.LinuxContainerSecurityContext:
    """The container's security context, empty if the request has none."""
    return inputs.config.linux.security_context


def _oom_floor(held: frozenset[str]) -> int:
    """proc_pid_oom_score_adj(5): lowering it needs CAP_SYS_RESOURCE; the daemon's own value can always be set."""
    if "CAP_SYS_RESOURCE" in held:
        return -1000
    return int(Path("/proc/self/oom_score_adj").read_text())


def _controllers() -> frozenset[str]:
    unified = _CGROUP_ROOT / "cgroup.controllers"
    if unified.exists():
        return frozenset(unified.read_text().split())
    rows = [line.split() for line in Path("/proc/cgroups").read_text().splitlines() if not line.startswith("#")]
    # The directory alone is not enough: it stays when the hierarchy is unmounted.
    return frozenset(row[0] for row in rows if row[3] == "1" and (_CGROUP_ROOT / row[0] / "cgroup.procs").exists())


def _counts_swap() -> bool:
    if (_CGROUP_ROOT / "cgroup.controllers").exists():
        return Path("/proc/swaps").exists()  # memory.swap.max exists if the kernel supports swap
    return (_CGROUP_ROOT / "memory/memory.memsw.limit_in_bytes").exists()


def _kernel_version(release: str) -> tuple[int, int]:
    major, _, rest = release.partition(".")
    minor = rest.partition(".")[0]
    digits = "".join(c for c in minor if c.isdigit())
    return int(major), int(digits or 0)
