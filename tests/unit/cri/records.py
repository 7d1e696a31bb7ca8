"""Records of pods and containers as the stores hold them."""

from collections.abc import Mapping
from typing import Any

from crishim.lifecycle import ContainerState, PodState
from crishim.model import ContainerRecord, NamespacePaths, PodRecord
from crishim.pb import cri_pb2 as cri

SECOND = 1_000_000_000


def pod(id: str = "p1", *, labels: Mapping[str, str] | None = None, **fields: Any) -> PodRecord:
    config = cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(name=f"name-{id}", namespace="ns", uid=f"uid-{id}"), labels=labels or {}
    )
    known: dict[str, Any] = {
        "state": PodState.READY,
        "handler": "",
        "created_at": 100 * SECOND,
        "cgroup_parent": f"/pods/{id}",
        "namespaces": NamespacePaths(net=f"/run/{id}/net"),
    }
    return PodRecord(id=id, config=config.SerializeToString(), **(known | fields))


def container(
    id: str = "c1",
    pod_id: str = "p1",
    *,
    labels: Mapping[str, str] | None = None,
    resources: cri.LinuxContainerResources | None = None,
    **fields: Any,
) -> ContainerRecord:
    config = cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=f"name-{id}"),
        image=cri.ImageSpec(image="sha256:1", user_specified_image="example.org/app:1"),
        labels=labels or {},
        annotations={"a": "b"},
    )
    known: dict[str, Any] = {
        "state": ContainerState.RUNNING,
        "handler": "crun",
        "image_id": "sha256:1",
        "image_ref": "sha256:1",
        "created_at": 100 * SECOND,
        "started_at": 110 * SECOND,
        "cgroup": f"/pods/{pod_id}/{id}",
        "resources": (resources or cri.LinuxContainerResources()).SerializeToString(),
    }
    return ContainerRecord(id=id, pod_id=pod_id, config=config.SerializeToString(), **(known | fields))
