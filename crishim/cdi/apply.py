"""Applies CDI edits to an OCI runtime spec, one function for each kind. SPEC.md, "OCI Edits"."""

import os
import stat
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from crishim.cdi.format import DeviceNode, Edits, Mount, builtins
from crishim.errors import CrishimError, Kind
from crishim.linux import pod_paths

OciSpec = dict[str, Any]
TYPES = {stat.S_IFBLK: "b", stat.S_IFCHR: "c", stat.S_IFIFO: "p"}


def apply(spec: OciSpec, edits: Edits) -> None:
    """Edit an OCI runtime spec in place; network devices are left to the caller.

    Raises PRECONDITION for a device node that is neither on the host nor fully described in its file. Blocks (stat of
    device nodes).
    """
    for editor in EDITORS:
        editor(spec, edits)


def _env(spec: OciSpec, edits: Edits) -> None:
    """An existing variable is replaced in its place."""
    if not edits.env:
        return
    process = spec.setdefault("process", {})
    variables = {item.partition("=")[0]: item for item in process.get("env") or []}
    variables |= {item.partition("=")[0]: item for item in edits.env}
    process["env"] = list(variables.values())


def _device_nodes(spec: OciSpec, edits: Edits) -> None:
    for node in edits.device_nodes:
        linux = spec.setdefault("linux", {})
        device = _complete(node)
        user = spec.get("process", {}).get("user", {})
        for field in ("uid", "gid"):
            if field not in device and user.get(field):
                device[field] = user[field]
        linux["devices"] = [d for d in linux.get("devices") or [] if d["path"] != node.path] + [device]
        if device["type"] in ("b", "c"):
            access = "" if node.permissions == "none" else node.permissions or "rwm"
            rule = {"allow": True, "type": device["type"], "access": access}
            rule |= {"major": device["major"], "minor": device["minor"]}
            linux.setdefault("resources", {}).setdefault("devices", []).append(rule)


def _complete(node: DeviceNode) -> dict[str, Any]:
    """The node in OCI's form; what the CDI file leaves out is taken from the host's node."""
    described = bool(node.type) and (node.major != 0 or node.type == "p")
    path = node.host_path or node.path
    made: dict[str, Any] = {"path": node.path, "type": node.type, "major": node.major, "minor": node.minor}
    made |= {k: v for k, v in (("fileMode", node.file_mode), ("uid", node.uid), ("gid", node.gid)) if v is not None}
    pod_paths.looking_at(path)
    try:
        found = os.lstat(path)
    except OSError as error:
        if described:
            return made
        raise CrishimError(
            Kind.PRECONDITION, f"CDI device node {path} cannot be used: {error.strerror}", path=path
        ) from error
    made.setdefault("fileMode", stat.S_IMODE(found.st_mode))
    if described:
        return made
    kind = TYPES.get(stat.S_IFMT(found.st_mode), "")
    if not kind or node.type not in ("", kind):
        wanted = f"of type {node.type}" if node.type else "a device node"
        raise CrishimError(Kind.PRECONDITION, f"CDI device node {path} is not {wanted}", path=path)
    made["type"] = kind
    if kind != "p":
        made |= {"major": os.major(found.st_rdev), "minor": os.minor(found.st_rdev)}
    return made


def _mounts(spec: OciSpec, edits: Edits) -> None:
    """Each replaces the one at its destination; shallow ones first, so that none hides another."""
    if not edits.mounts:
        return
    mapped = any(n.get("type") == "user" for n in spec.get("linux", {}).get("namespaces") or [])
    mounts = spec.get("mounts") or []
    for mount in edits.mounts:
        mounts = [m for m in mounts if m["destination"] != mount.container_path]
        mounts.append(_oci_mount(mount, mapped))
    spec["mounts"] = sorted(mounts, key=lambda m: len(PurePosixPath(m["destination"]).parts))


def _oci_mount(mount: Mount, mapped: bool) -> dict[str, Any]:
    options = list(mount.options)
    if mapped and not {"idmap", "ridmap"} & set(options):
        if "rbind" in options:
            options.append("ridmap")
        elif "bind" in options or mount.type == "bind":
            options.append("idmap")
    made: dict[str, Any] = {"source": mount.host_path, "destination": mount.container_path, "options": options}
    return made | ({"type": mount.type} if mount.type else {})


def _hooks(spec: OciSpec, edits: Edits) -> None:
    for hook in edits.hooks:
        made = builtins(hook)
        spec.setdefault("hooks", {}).setdefault(made.pop("hookName"), []).append(made)


def _intel_rdt(spec: OciSpec, edits: Edits) -> None:
    if edits.intel_rdt is not None:
        spec.setdefault("linux", {})["intelRdt"] = builtins(edits.intel_rdt)


def _gids(spec: OciSpec, edits: Edits) -> None:
    if not any(edits.gids):
        return
    user = spec.setdefault("process", {}).setdefault("user", {})
    groups = [*(user.get("additionalGids") or []), *(gid for gid in edits.gids if gid)]
    user["additionalGids"] = list(dict.fromkeys(groups))


EDITORS: tuple[Callable[[OciSpec, Edits], None], ...] = (_env, _device_nodes, _mounts, _hooks, _intel_rdt, _gids)
