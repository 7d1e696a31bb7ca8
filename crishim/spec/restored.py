"""Checks that a container restored from a checkpoint is the one that a request asks for.

criu restores processes with their credentials, capabilities, seccomp filter and mounts, whatever config.json has. The
mounts, cgroups, namespaces and root file system of config.json are applied. So the checkpoint's config.json and that
of the request may differ only where the new one is applied.
"""

import posixpath
from collections.abc import Mapping
from typing import Any

from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri

Spec = Mapping[str, Any]
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


def with_command(config: cri.ContainerConfig, old: Spec) -> cri.ContainerConfig:
    """The request with the checkpoint's command where it has none: the image need not have one."""
    if config.command or config.args:
        return config
    filled = cri.ContainerConfig()
    filled.CopyFrom(config)
    filled.command.extend(str(a) for a in _process(old).get("args") or [])
    return filled


def check_restored(config: cri.ContainerConfig, old: Spec, new: Spec, *, environment: bool) -> None:
    """INVALID names the first difference between the request and the checkpoint that cannot be restored.

    old: config.json in the checkpoint, new: the one made for the request. environment: whether the request's variables
    have to be those of the checkpoint.
    """
    try:
        problem = next(filter(None, _problems(config, old, new, environment)), "")
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise CrishimError(Kind.INVALID, f"the checkpoint's spec.dump is no config.json: {error}") from None
    if problem:
        raise CrishimError(Kind.INVALID, f"the checkpoint cannot be restored as the request asks: {problem}")


def _problems(config: cri.ContainerConfig, old: Spec, new: Spec, environment: bool) -> list[str]:
    before, after = _process(old), _process(new)
    return [
        _differs("the command", before.get("args"), after.get("args")),
        _differs("the working directory", before.get("cwd"), after.get("cwd")) if config.working_dir else "",
        _environment(config, before) if environment else "",
        _differs("a terminal", bool(before.get("terminal")), bool(after.get("terminal"))),
        _differs("the user", _user(before), _user(after)),
        _capabilities(before, after),
        _confined(before, after, old, new),
        _differs("a read-only root", _read_only(old), _read_only(new)),
        _differs("namespaces", _namespaces(old), _namespaces(new)),
        "it has a user namespace" if "user" in _namespaces(old) | _namespaces(new) else "",
        _listed("mount", _mounts(old), _mounts(new)),
        _listed("masked path", _paths(old, "maskedPaths"), _paths(new, "maskedPaths")),
        _listed("read-only path", _paths(old, "readonlyPaths"), _paths(new, "readonlyPaths")),
        _listed("device", _devices(old), _devices(new)),
    ]


def _process(spec: Spec) -> Spec:
    found: Spec = spec.get("process") or {}
    return found


def _differs(what: str, old: object, new: object) -> str:
    return "" if old == new else f"{what} was {_shown(old)}, the request has {_shown(new)}"


def _shown(value: object) -> str:
    return repr(value)[:200]


def _environment(config: cri.ContainerConfig, before: Spec) -> str:
    had = dict(str(e).partition("=")[::2] for e in before.get("env") or [])
    for variable in config.envs:
        if had.get(variable.key) != variable.value.decode(errors="surrogateescape"):
            return f"the variable {variable.key} is another"
    return ""


def _user(process: Spec) -> tuple[int, int, tuple[int, ...]]:
    user = process.get("user") or {}
    return user.get("uid", 0), user.get("gid", 0), tuple(sorted(user.get("additionalGids") or []))


def _capabilities(before: Spec, after: Spec) -> str:
    had, given = before.get("capabilities") or {}, after.get("capabilities") or {}
    for kind in SETS:
        more = sorted(set(had.get(kind) or []) - set(given.get(kind) or []))
        if more:
            return f"it had the {kind} capability {more[0]}, which the request does not give"
    return ""


def _confined(before: Spec, after: Spec, old: Spec, new: Spec) -> str:
    if after.get("noNewPrivileges") and not before.get("noNewPrivileges"):
        return "it may gain privileges (no_new_privs)"
    for label in ("apparmorProfile", "selinuxLabel"):
        if before.get(label, "") != after.get(label, ""):
            return _differs(label, before.get(label, ""), after.get(label, ""))
    filter_of = [(spec.get("linux") or {}).get("seccomp") for spec in (old, new)]
    return "its seccomp profile was another" if filter_of[1] and filter_of[0] != filter_of[1] else ""


def _read_only(spec: Spec) -> bool:
    return bool((spec.get("root") or {}).get("readonly"))


def _namespaces(spec: Spec) -> dict[str, str]:
    """By type: "the pod's" or "its own"."""
    found = (spec.get("linux") or {}).get("namespaces") or []
    return {n["type"]: "the pod's" if n.get("path") else "its own" for n in found}


def _mounts(spec: Spec) -> dict[str, str]:
    """Every mount by destination, with what must be the same for criu."""
    return {posixpath.normpath(m["destination"]): _kind(m) for m in spec.get("mounts") or []}


def _kind(mount: Spec) -> str:
    options = mount.get("options") or []
    is_bind = mount.get("type") == "bind" or "bind" in options or "rbind" in options
    writable = "read-only" if "ro" in options else "writable"
    return f"{'a bind mount' if is_bind else mount.get('type', '')}, {writable}"


def _paths(spec: Spec, key: str) -> dict[str, str]:
    return dict.fromkeys((spec.get("linux") or {}).get(key) or [], "there")


def _devices(spec: Spec) -> dict[str, str]:
    found = (spec.get("linux") or {}).get("devices") or []
    return {d["path"]: f"{d.get('type')} {d.get('major', 0)}:{d.get('minor', 0)}" for d in found}


def _listed(what: str, old: Mapping[str, str], new: Mapping[str, str]) -> str:
    for path in sorted(old.keys() | new.keys()):
        if path not in new:
            return f"it had a {what} at {path}, which the request does not have"
        if path not in old:
            return f"the request has a {what} at {path}, which it did not have"
        if old[path] != new[path]:
            return f"the {what} at {path} was {old[path]}, the request has {new[path]}"
    return ""
