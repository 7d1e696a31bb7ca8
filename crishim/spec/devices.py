"""Device nodes and the device cgroup's rules: those of the request, or for a privileged container all of the host's."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crishim.errors import CrishimError, Kind
from crishim.linux import pod_paths
from crishim.pb import cri_pb2 as cri
from crishim.spec.inputs import Draft, Inputs, security_context

# Below /dev: mounts, of which each container has its own, and the host's console.
_EXCLUDED = frozenset({"/dev/pts", "/dev/shm", "/dev/fd", "/dev/mqueue", "/dev/console", "/dev/.udev", "/dev/.lxc"})


def devices(draft: Draft, inputs: Inputs) -> None:
    """linux.devices and linux.resources.devices. Rules follow the base's "deny all"; the last one that matches wins."""
    linux = draft.spec["linux"]
    rules = linux["resources"]["devices"]
    if security_context(inputs).privileged:
        linux["devices"] = [node for path in walk("/dev") if (node := describe(path, path))]
        rules.append({"allow": True, "access": "rwm"})
        return
    for device in inputs.config.devices:
        access = device.permissions or "rwm"
        for node in requested(device):
            linux["devices"].append(node)
            rules.append(
                {"allow": True, "type": node["type"], "major": node["major"], "minor": node["minor"], "access": access}
            )


def requested(device: cri.Device) -> list[dict[str, Any]]:
    """The nodes of one request: one, or all below a directory. NOT_FOUND: no such path; INVALID: no device."""
    pod_paths.looking_at(device.host_path)
    source = os.path.realpath(device.host_path)
    target = device.container_path or device.host_path
    try:
        is_directory = stat.S_ISDIR(Path(source).stat().st_mode)
    except OSError as error:
        raise CrishimError(
            Kind.NOT_FOUND, f"the device {device.host_path} does not exist on the node", device=device.host_path
        ) from error
    if not is_directory:
        node = describe(source, target)
        if node is None:
            raise CrishimError(Kind.INVALID, f"{device.host_path} is not a device", device=device.host_path)
        return [node]
    return [node for path in walk(source) if (node := describe(path, target + path.removeprefix(source)))]


def describe(path: str, target: str) -> dict[str, Any] | None:
    """An entry of linux.devices for the node at path; None if it is no device or is gone."""
    try:
        facts = os.lstat(path)
    except OSError:
        return None
    kind = "c" if stat.S_ISCHR(facts.st_mode) else "b" if stat.S_ISBLK(facts.st_mode) else ""
    if not kind:
        return None
    return {
        "path": target,
        "type": kind,
        "major": os.major(facts.st_rdev),
        "minor": os.minor(facts.st_rdev),
        "fileMode": stat.S_IMODE(facts.st_mode),
        "uid": facts.st_uid,
        "gid": facts.st_gid,
    }


def walk(directory: str) -> Iterator[str]:
    """Every path below a directory of devices that is no directory and no symlink, in order."""
    try:
        entries = sorted(os.scandir(directory), key=lambda e: e.name)
    except OSError:
        return
    for entry in entries:
        path = str(Path(directory) / entry.name)
        if path in _EXCLUDED or entry.is_symlink():
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from walk(path)
        else:
            yield path
