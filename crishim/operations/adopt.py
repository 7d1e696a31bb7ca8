"""Adoption: make a record in memory for a pod or container whose record on disk this version cannot read.

The record on disk is a newer version's, or damaged. The pod or container keeps running: it is listed, used, stopped and
removed like any other, and the file is left for the version that can read it. Sources of its fields, the best first:

    the fields of the record that can be read nevertheless (records.py)
    the copy made at its creation (record_files.COPY), in its directory below the run directory
    config.json, conmon's arguments, the cgroup, the namespaces

Its state depends on how the kubelet treats states: it kills and replaces a container in CONTAINER_UNKNOWN
(pkg/kubelet/kuberuntime, computePodActions), and all containers of a pod in SANDBOX_NOTREADY. So a running container
whose pod is known is RUNNING, its pod READY, and the annotation NOTE says why. A container whose pod is not known is
UNKNOWN: no kubelet could recognise it. A pod that is not as it was created is STOPPING: NOTREADY to clients, and torn
down by the next stop.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from crishim import records
from crishim.engine import conmon
from crishim.engine.init import init_id
from crishim.ids import is_id
from crishim.lifecycle import ContainerState, PodState
from crishim.linux import cgroups, namespaces, processes, record_files, slices
from crishim.linux.netlink import addresses, links
from crishim.linux.netns_thread import in_namespaces_thread
from crishim.linux.record_files import Unread
from crishim.model import ContainerRecord, NamespacePaths, PodRecord, ProcessRef
from crishim.operations.bundle_facts import container_config, pod_config, read_spec, record_fields
from crishim.pb import cri_pb2 as cri
from crishim.records import UnreadableError
from crishim.state.store import Store

NOTE = "crishim.io/unknown"  # annotation in List and Status, with the reason
UNKNOWN = "unknown"  # image name if none is known: the kubelet needs one
R = TypeVar("R", bound=PodRecord | ContainerRecord)

log = logging.getLogger("crishim.adopt")


class Adoption:
    """Makes records from the directories of pods and containers."""

    def __init__(self, run_dir: Path, cgroup_parent: str, default_handler: str) -> None:
        """cgroup_parent: of pods for which the client named none."""
        self._run = run_dir
        self._cgroup_parent = cgroup_parent
        self._default_handler = default_handler
        self._monitors: dict[Path, ProcessRef] = {}

    def run(self, pods: Store[PodRecord], containers: Store[ContainerRecord]) -> None:
        """Adopt what the stores could not read, and what runs without a record but has a copy of it.

        Blocks: reads /proc and namespaces.
        """
        self._monitors = conmon.running() if containers.unread else {}
        for unread in [*containers.unread.values(), *self._without_record("containers", containers, _has_monitor)]:
            copy = _copied(self._run / "containers" / unread.id, ContainerRecord, unread.id)
            _adopt(containers, unread, copy, cri.ContainerConfig, self.container)
        for unread in [*pods.unread.values(), *self._without_record("pods", pods, _has_namespace)]:
            copy = _copied(self._run / "pods" / unread.id, PodRecord, unread.id)
            mine = [c for c in containers if c.pod_id == unread.id]
            _adopt(pods, unread, copy, cri.PodSandboxConfig, partial(self.pod, containers=mine))

    def _without_record(self, kind: str, store: Store[Any], is_running: Callable[[Path], bool]) -> list[Unread]:
        """Running pods or containers without a record: it was lost, as the copy is written after the record and removed
        before it."""
        copies = (self._run / kind).glob(f"*/{record_files.COPY}")
        lost = [p for p in copies if is_id(p.parent.name) and not store.get(p.parent.name)]
        return [
            Unread(path.parent.name, path, "is gone", {})
            for path in lost
            if path.parent.name not in store.unread and is_running(path.parent)
        ]

    def container(self, unread: Unread, known: dict[str, Any]) -> ContainerRecord:
        """The record for a container. STARTING makes recovery ask the runtime whether it was started.

        known: fields of its record or of the copy.
        """
        id, bundle = unread.id, self._run / "containers" / unread.id
        spec = read_spec(bundle)
        told = spec.told
        monitor = conmon.find_monitor(bundle, self._monitors)
        process = conmon.find_process(bundle, monitor)
        config = _parsed(known.get("config", b""), cri.ContainerConfig)
        if not config.metadata.name:
            config = container_config(spec)
        is_known = bool(config.metadata.name) and ("config" in known or bool(told.get("sandbox-uid")))
        config.metadata.name = config.metadata.name or id[:13]
        config.image.image = config.image.image or UNKNOWN
        _note(config.annotations, unread)
        ended = monitor is None and known.get("state") is ContainerState.EXITED
        alive = ContainerState.STARTING if is_known else ContainerState.UNKNOWN
        fields: dict[str, Any] = {"pod_id": "", "image_id": "", "image_ref": config.image.image}
        fields |= {"created_at": _created_at(bundle)} | record_fields(spec, bundle) | known
        fields |= {
            "id": id,
            "state": ContainerState.EXITED if ended else alive,
            "config": config.SerializeToString(deterministic=True),
            "handler": self._handler(id, known.get("handler", "")),
            "cgroup": (_cgroup(process.pid, id) if process else "") or fields.get("cgroup", ""),
            "log_path": known.get("log_path") or (conmon.log_path(monitor) if monitor else ""),
            "message": known.get("message") or config.annotations[NOTE],
            "process": process,
            "monitor": monitor,
        }
        return ContainerRecord(**fields)

    def pod(self, unread: Unread, known: dict[str, Any], containers: list[ContainerRecord]) -> PodRecord:
        """The record for a pod. containers: those whose records name it."""
        id, directory = unread.id, self._run / "pods" / unread.id
        config = _parsed(known.get("config", b""), cri.PodSandboxConfig)
        is_known = bool(config.metadata.name)
        own = slices.of_pod(self._cgroup_parent, id)
        parent = known.get("cgroup_parent") or next((c.cgroup.rpartition("/")[0] for c in containers if c.cgroup), own)
        if not is_known:
            told = [read_spec(self._run / "containers" / c.id).told for c in containers]
            config = pod_config(next((t for t in told if t), {}))
            config.metadata.name = config.metadata.name or id[:13]
            config.linux.cgroup_parent = "" if parent == own else parent
        _note(config.annotations, unread)
        pins = known.get("namespaces") or _pins(directory / "ns")
        network = known.get("network")
        if network and not network.ips and namespaces.is_pinned(pins.net):
            network = replace(network, ips=_addresses(pins.net))
        init = _init(directory) if pins.pid else None
        as_made = (
            is_known
            and unread.salvaged.get("state", PodState.READY) is PodState.READY
            and directory.is_dir()
            and all(namespaces.is_pinned(p) for p in (pins.net, pins.ipc, pins.uts, pins.user) if p)
            and (init is not None or not pins.pid)
            and (not pins.net or bool(network and network.ips))
        )
        handler = next((c.handler for c in containers), "")
        if pins.pid:
            handler = self._handler(init_id(id), handler)
        fields: dict[str, Any] = {"handler": handler, "created_at": _created_at(directory)} | known
        fields |= {
            "id": id,
            "state": PodState.READY if as_made else PodState.STOPPING,
            "config": config.SerializeToString(deterministic=True),
            "namespaces": pins,
            "network": network,
            "init": init,
            "cgroup_parent": parent,
        }
        return PodRecord(**fields)

    def _handler(self, id: str, recorded: str) -> str:
        """The handler whose state directory has the container; else the record's."""
        owners = [path.parent.name for path in (self._run / "runtime").glob(f"*/{id}")]
        return recorded if recorded in owners or (recorded and not owners) else (owners or [self._default_handler])[0]


def _adopt(store: Store[R], unread: Unread, copy: dict[str, Any], config: Any, make_record: Callable[..., R]) -> None:
    """Adopt with as many known fields as pass the store's check: those salvaged from a damaged record may not.

    config: the message type in the field of this name.
    """
    salvaged = dict(unread.salvaged)
    if not _parsed(salvaged.get("config", b""), config).metadata.name:
        salvaged.pop("config", None)
    for known in (copy | salvaged, copy, {}):
        try:
            record = make_record(unread, known)
            store.check_record(record)
        except Exception as error:  # as in record_files.load()
            log.warning("what could be read of a record makes no sense", extra={"id": unread.id, "error": str(error)})
            continue
        store.adopt(record)
        log.warning("managed by another version", extra={"id": unread.id, "state": str(record.state)})
        return


def _has_monitor(bundle: Path) -> bool:
    return conmon.find_monitor(bundle) is not None


def _has_namespace(directory: Path) -> bool:
    return any(namespaces.is_pinned(str(pin)) for pin in directory.glob("ns/*"))


def _created_at(directory: Path) -> int:
    """When a pod or container was created, in ns since the epoch, by its directory's mtime; never 0.

    The kubelet rejects a status without a time, and stops syncing the pod.
    """
    try:
        return directory.lstat().st_mtime_ns or time.time_ns()
    except OSError:
        return time.time_ns()


def _note(annotations: Any, unread: Unread) -> None:
    annotations[NOTE] = f"managed by another version: its record {unread.reason}"


def _copied(directory: Path, kind: type[msgspec.Struct], id: str) -> dict[str, Any]:
    """The fields of the copy in a pod's or container's directory; {} if there is none."""
    try:
        found = records.salvage(record_files.read(directory / record_files.COPY), kind)
    except UnreadableError:
        return {}
    return found if found.get("id") == id else {}


def _parsed(data: bytes, kind: Any) -> Any:
    """A CRI message; an empty one if the bytes cannot be parsed."""
    try:
        return kind.FromString(data)
    except Exception:  # google.protobuf.message.DecodeError, and UnicodeDecodeError
        return kind()


def _pins(directory: Path) -> NamespacePaths:
    """The namespaces pinned in a pod's directory; net always: an address may be leased even if its pin is gone."""
    kinds = [k for k in ("ipc", "uts", "user", "pid") if namespaces.is_pinned(str(directory / k))]
    return NamespacePaths(**{k: str(directory / k) for k in ("net", *kinds)})


def _init(directory: Path) -> ProcessRef | None:
    try:
        pid = int(record_files.read(directory / "init/pidfile", 32))
    except (UnreadableError, ValueError):
        return None
    reference = processes.reference(pid) if pid > 0 else None
    return reference if reference and processes.is_alive(reference) else None


def _addresses(netns: str) -> tuple[str, ...]:
    """eth0's addresses, which the primary network assigned: IPv4 first, as plugins order them."""

    def read(inside: Any) -> list[addresses.Address]:
        link = links.get(inside.netlink, "eth0")
        return [] if link is None else addresses.dump(inside.netlink, link.index)

    found = [a for a in in_namespaces_thread((netns,), read) if a.scope == addresses.RT_SCOPE_UNIVERSE]
    return tuple(a.ip for a in sorted(found, key=lambda a: a.family))


def _cgroup(pid: int, id: str) -> str:
    return cgroups.of_process(pid, id) or cgroups.of_process(pid, f"crishim-{id}.scope")
