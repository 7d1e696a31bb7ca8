"""Frozen records of pods, containers and images, in the form they have on disk.

The CRI configuration of a pod or container is kept as the serialized message it came in, so that labels, annotations
and unknown fields survive byte for byte; the fields beside it are what the daemon found out itself. The only way to
change a record is `Store.update(id, change)` (crishim/state/store.py). Pods, containers and attachments of network
devices carry the version of their shape as "schema" (crishim/records.py).

Times are nanoseconds since the epoch, 0 for "not yet". Paths are absolute.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from crishim.lifecycle import ContainerState, PodState
from crishim.pb import cri_pb2 as cri


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all records. `msgspec.structs.replace(record, field=...)` makes a changed copy."""


class ProcessRef(Record, frozen=True, kw_only=True):
    """A process that outlives the daemon, by pid and start time: a pid may be reused (proc(5), stat field 22)."""

    pid: Annotated[int, Meta(gt=0, lt=1 << 31)]
    start_time: Annotated[int, Meta(ge=0)]  # clock ticks after boot


class NamespacePaths(Record, frozen=True, kw_only=True):
    """Bind-mounted namespace handles of a pod; "" where the pod uses the host's namespace."""

    net: str = ""
    ipc: str = ""
    uts: str = ""
    user: str = ""
    pid: str = ""  # only a pod that shares its PID namespace


class Network(Record, frozen=True, kw_only=True):
    """Input and result of CNI ADD, kept so that DEL and CHECK get the same (CNI spec, section 4)."""

    name: str  # of the network configuration list
    conflist: bytes  # JSON as it was read
    capability_args: bytes  # JSON object: runtimeConfig by capability
    result: bytes = b""  # JSON of the last plugin's result; empty until ADD succeeded
    ips: tuple[str, ...] = ()  # eth0's addresses without prefix, the first is the primary one


class PodRecord(Record, frozen=True, kw_only=True, tag_field="schema", tag=1):
    id: str
    state: PodState
    config: bytes  # runtime.v1.PodSandboxConfig
    handler: str  # as requested: "" is the default
    created_at: int
    namespaces: NamespacePaths = NamespacePaths()
    network: Network | None = None  # None: host network
    init: ProcessRef | None = None  # of a shared PID namespace
    cgroup_parent: str = ""  # parent of its containers' cgroups: the kubelet's pod cgroup, or one of ours
    overhead: bytes = b""  # runtime.v1.LinuxContainerResources, UpdatePodSandboxResources
    resources: bytes = b""
    announced: bool = False  # CREATING: NRI plugins may have got its RunPodSandbox
    stop_announced: bool = False  # NRI plugins have got StopPodSandbox
    detached: tuple[tuple[str, ...], ...] = ()  # names of network devices that DetachNetDevice was asked to return

    def parse_config(self) -> cri.PodSandboxConfig:
        return cri.PodSandboxConfig.FromString(self.config)


class User(Record, frozen=True, kw_only=True):
    """The numeric ids a container's process starts with."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()  # as reported: the primary gid is among them


class ResolvedMount(Record, frozen=True, kw_only=True):
    """A CRI mount as it was mounted: what ContainerStatus adds to the request."""

    container_path: str
    host_path: str = ""  # symlinks resolved; empty for an image volume
    image_id: str = ""  # image volume: the image mounted
    image_ref: str = ""  # image volume: its digest reference, for ContainerStatus


class ContainerRecord(Record, frozen=True, kw_only=True, tag_field="schema", tag=1):
    id: str
    pod_id: str
    state: ContainerState
    config: bytes  # runtime.v1.ContainerConfig
    handler: str  # resolved name, never ""
    image_id: str  # Image.id of the root file system
    image_ref: str  # PullImage's image_ref: the same
    created_at: int
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    log_path: str = ""
    stop_signal: int = 15  # signal number: the container's, else the image's, else SIGTERM
    user: User | None = None
    mounts: tuple[ResolvedMount, ...] = ()
    resources: bytes = b""  # runtime.v1.LinuxContainerResources now in force
    cgroup: str = ""  # cgroupsPath below the hierarchy's root
    process: ProcessRef | None = None  # the container's init
    monitor: ProcessRef | None = None  # its conmon
    oom_kills_before: int | None = None  # oom_kill count of its pod's slice when it was started (systemd driver)
    announced: bool = False  # CREATING: NRI plugins may have got its CreateContainer
    stop_unannounced: bool = False  # EXITED: NRI plugins have not got StopContainer yet
    restore: bool = False  # from a checkpoint and not restored yet: it has no process and no monitor

    def parse_config(self) -> cri.ContainerConfig:
        return cri.ContainerConfig.FromString(self.config)


class ImageRecord(Record, frozen=True, kw_only=True):
    """An image as the store holds it."""

    id: str  # "sha256:" + config digest: equals PullImage.image_ref and Container.image_id
    repo_tags: tuple[str, ...]
    repo_digests: tuple[str, ...]
    size: int  # bytes
    config: bytes  # OCI image configuration JSON
    layers: tuple[str, ...]  # layer ids of the store, topmost first
    pinned: bool = False


class OwnerRange(Record, frozen=True, kw_only=True):
    """One mapping of a user namespace: ids from `container` on are host ids from `host` on (user_namespaces(7))."""

    container: int
    host: int
    length: int


class ExecSpec(Record, frozen=True, kw_only=True):
    """A process to run inside a container (exec, exec -s, probes)."""

    argv: tuple[str, ...]
    tty: bool = False
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
