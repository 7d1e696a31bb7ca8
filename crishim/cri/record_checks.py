"""Checks of well-formed records: one with a damaged value would make List fail for all.

Each function raises for a record that cannot be used; the exception can be of any type.
"""

import msgspec
from msgspec.structs import replace

from crishim.cni.format import parse_list
from crishim.cri import containers, pods
from crishim.lifecycle import ContainerState
from crishim.model import ContainerRecord, PodRecord
from crishim.pb import cri_pb2 as cri


def pod(record: PodRecord) -> None:
    pods.pod_status(record).SerializeToString()
    pods.select([record], cri.PodSandboxFilter())
    for resources in (record.overhead, record.resources):
        cri.LinuxContainerResources.FromString(resources)
    spaces = record.namespaces
    _check_paths(spaces.net, spaces.ipc, spaces.uts, spaces.user, spaces.pid, record.cgroup_parent)
    if record.network is not None:
        parse_list(record.network.conflist, record.network.name)
        msgspec.json.decode(record.network.capability_args, type=dict)
        if record.network.result:
            msgspec.json.decode(record.network.result, type=dict)


def container(record: ContainerRecord) -> None:
    record = replace(record, state=ContainerState.EXITED)  # STATES has no CREATING and REMOVING
    containers.container_status(record).SerializeToString()
    containers.select([record], cri.ContainerFilter())
    _check_paths(record.cgroup, record.log_path)


def _check_paths(*paths: str) -> None:
    for path in paths:
        if "\0" in path or ".." in path.split("/") or (path and not path.startswith("/")):
            raise ValueError(f"{path!r:.80} is no absolute path")
