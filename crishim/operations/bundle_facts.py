"""Read facts of a container and its pod from config.json, when there is no readable record (adopt.py)."""

import re
from pathlib import Path
from typing import Any

import msgspec

from crishim import records
from crishim.ids import is_id
from crishim.linux import record_files
from crishim.pb import cri_pb2 as cri
from crishim.records import UnreadableError

_OWN = "io.kubernetes.cri."  # what spec/annotations.py adds to a container's annotations
_LABEL = "io.kubernetes."  # the kubelet's own labels, by which it recognises containers


class _Linux(msgspec.Struct, frozen=True):
    cgroups_path: str = msgspec.field(default="", name="cgroupsPath")


class _Process(msgspec.Struct, frozen=True):
    terminal: bool = False


class WrittenSpec(msgspec.Struct, frozen=True):
    """The parts of a config.json that are read."""

    annotations: dict[str, str] = {}
    linux: _Linux = _Linux()
    process: _Process = _Process()

    @property
    def told(self) -> dict[str, str]:
        """The annotations that spec/annotations.py wrote, without its prefix."""
        return {key.removeprefix(_OWN): value for key, value in self.annotations.items() if key.startswith(_OWN)}


def read_spec(bundle: Path) -> WrittenSpec:
    """The readable parts of a bundle's config.json, which may be damaged or gone."""
    try:
        return WrittenSpec(**records.salvage(record_files.read(bundle / "config.json"), WrittenSpec))
    except UnreadableError:
        return WrittenSpec()


def record_fields(spec: WrittenSpec, bundle: Path) -> dict[str, Any]:
    """Fields of a container's record that follow from its bundle."""
    try:
        created = (bundle / "config.json").lstat().st_mtime_ns
    except OSError:
        return {}
    pod_id, path = spec.told.get("sandbox-id", ""), spec.linux.cgroups_path
    cgroup = path if path.startswith("/") else ""  # the systemd driver's form is no path
    return {"created_at": created, "pod_id": pod_id if is_id(pod_id) else "", "cgroup": cgroup}


def container_config(spec: WrittenSpec) -> cri.ContainerConfig:
    """A container's configuration from its config.json, with the labels every kubelet sets."""
    annotations = {key: value for key, value in spec.annotations.items() if not key.startswith(_OWN)}
    told, attempt = spec.told, annotations.get(f"{_LABEL}container.restartCount", "")
    config = cri.ContainerConfig(
        metadata=cri.ContainerMetadata(
            name=told.get("container-name", ""),
            attempt=int(attempt) if re.fullmatch(r"[0-9]{1,8}", attempt) else 0,
        ),
        image=cri.ImageSpec(image=told.get("image-name", "")),
        annotations=annotations,
        tty=spec.process.terminal,
    )
    named = {"container.name": "container-name"} | {f"pod.{k}": f"sandbox-{k}" for k in ("name", "namespace", "uid")}
    for label, key in named.items():
        if told.get(key):
            config.labels[_LABEL + label] = told[key]
    return config


def pod_config(told: dict[str, str]) -> cri.PodSandboxConfig:
    """A pod's configuration from the annotations of one of its containers (WrittenSpec.told)."""
    known = {key: told.get(f"sandbox-{key}", "") for key in ("name", "namespace", "uid")}
    metadata = cri.PodSandboxMetadata(name=known["name"], namespace=known["namespace"], uid=known["uid"])
    config = cri.PodSandboxConfig(metadata=metadata)
    for key, value in known.items():
        if value:
            config.labels[f"{_LABEL}pod.{key}"] = value
    return config
