"""Applies a merged NRI adjustment to config.json: one function a field of ContainerAdjustment, in NRI's order.

A key with a leading "-" removes the entry (names of annotations, variables, devices, sysctls, namespace types, mount
destinations). CDI devices and network devices are left to the caller, who resolves and leases them.
Unlike Go's generator, this also removes entries that the container had from its start, variables and devices too.
"""

import posixpath
from collections.abc import Callable, Iterable
from typing import Any

from crishim.errors import CrishimError, Kind
from crishim.pb import nri_pb2 as nri
from crishim.spec.inputs import Draft, Inputs, Spec
from crishim.spec.limits import clamp_oom_score
from crishim.spec.mount_table import mount_order
from crishim.spec.nri_resources import given, resources
from crishim.spec.proc_mounts import check_proc_mounts

Editor = Callable[[Draft, Inputs, nri.ContainerAdjustment], None]
HOOKS = {  # field of nri.Hooks: name in config.json
    "prestart": "prestart",
    "create_runtime": "createRuntime",
    "create_container": "createContainer",
    "start_container": "startContainer",
    "poststart": "poststart",
    "poststop": "poststop",
}
_PROPAGATION = {"rshared": "rshared", "shared": "rshared", "rslave": "rslave", "slave": "rslave"}


def adjust(
    draft: Draft, inputs: Inputs, adjustment: nri.ContainerAdjustment, cdi: Callable[[Spec], None] = lambda _: None
) -> None:
    """Apply the adjustment to the spec. cdi: applies its CDI devices. Blocks briefly.

    INVALID or PRECONDITION for a field that cannot be applied. Facts: field, and key if it has one.
    """
    for edit in BEFORE_CDI:
        edit(draft, inputs, adjustment)
    cdi(draft.spec)
    for edit in AFTER_CDI:
        edit(draft, inputs, adjustment)


def removed(name: str) -> str:
    """NAME of a removal "-NAME"; "" if it is none."""
    return name[1:] if name.startswith("-") else ""


def refuse(field: str, why: str, *, key: str = "", kind: Kind = Kind.PRECONDITION) -> CrishimError:
    """The error for a field that cannot be applied."""
    return CrishimError(kind, f"{field} cannot be applied: {why}", field=field, key=key)


def _merge(into: dict[str, Any], changes: Iterable[tuple[str, Any]]) -> None:
    """Removals first: a removal and a new value of one name replace the old value."""
    changes = list(changes)
    for name, _ in changes:
        into.pop(removed(name), None)
    into.update((name, value) for name, value in changes if not removed(name))


def _annotations(draft: Draft, inputs: Inputs, adjustment: nri.ContainerAdjustment) -> None:
    if adjustment.annotations:
        _merge(draft.spec.setdefault("annotations", {}), adjustment.annotations.items())


def _env(draft: Draft, inputs: Inputs, adjustment: nri.ContainerAdjustment) -> None:
    """An existing variable is replaced in its place."""
    if not adjustment.env:
        return
    process = draft.spec["process"]
    variables = {item.partition("=")[0]: item for item in process.get("env") or []}
    _merge(variables, ((v.key, f"{v.key}={v.value}") for v in adjustment.env))
    process["env"] = list(variables.values())


def _args(draft: Draft, inputs: Inputs, adjustment: nri.ContainerAdjustment) -> None:
    if adjustment.args:
        draft.spec["process"]["args"] = list(adjustment.args)


def _hooks(draft: Draft, inputs: Inputs, adjustment: nri.ContainerAdjustment) -> None:
    for field, name in HOOKS.items():
        for hook in getattr(adjustment.hooks, field):
            if not hook.path.startswith("/"):
                raise refuse(f"hooks.{field}", f"its path is not absolute: {hook.path!r}", kind=Kind.INVALID)
            made: dict[str, Any] = {"path": hook.path}
            made |= {key: list(value) for key, value in (("args", hook.args), ("env", hook.env)) if value}
            if hook.HasField("timeout"):
                made["timeout"] = hook.timeout.value
            draft.spec.setdefault("hooks", {}).setdefault(name, []).append(made)


def _devices(draft: Draft, inputs: Inputs, adjustment: nri.ContainerAdjustment) -> None:
    """Device nodes, each with its rule of the device cgroup: rw, rwm for block devices."""
    if not adjustment.linux.devices:
        return
    linux = draft.spec["linux"]
    there = {device["path"]: device for device in linux.get("devices") or []}
    _merge(there, ((device.path, _device(device)) for device in adjustment.linux.devices))
    linux["devices"] = list(there.values())
    rules = linux.setdefault("resources", {}).setdefault("devices", [])
    for device in adjustment.linux.devices:
        if not removed(device.path) and device.type in ("b", "c"):
            access = "rwm" if device.type == "b" else "rw"
            rules.append(
                {"allow": True, "type": device.type, "major": device.major, "minor": device.minor, "access": access}
            )


def _device(device: nri.LinuxDevice) -> dict[str, Any]:
    made: dict[str, Any] = {"path": device.path, "type": device.type, "major": device.major, "minor": device.minor}
    optional = given(device)
    return made | {
        key: optional[f] for key, f in (("fileMode", "file_mode"), ("uid", "uid"), ("gid", "gid")) if f in optional
    }


def _cgroups_path(draft: Draft, inputs: Inputs, adjustment: nri.ContainerAdjustment) -> None:
    """Refused: a container's statistics, limits and kill use its cgroup below the pod's."""
    if adjustment.linux.cgroups_path and adjustment.linux.cgroups_path != draft.spec["linux"].get("cgroupsPath"):
        raise refuse("linux.cgroups_path", "a container stays below its pod's cgroup")


def _oom_score(draft: Draft, inputs: Inputs, adjustment: nri.ContainerAdjustment) -> None:
    if adjustment.linux.HasField("oom_score_adj"):
        score = clamp_oom_score(adjustment.linux.oom_score_adj.value, inputs.host, draft.notes)
        draft.spec["process"]["oomScoreAdj"] = score


def _io_priority(draft: Draft, inputs: Inputs, adjustment: nri.ContainerAdjustment) -> None:
    if not adjustment.linux.HasField("io_priority"):
        return
    asked = adjustment.linux.io_priority
    name = nri.IOPrioClass.Name(getattr(asked, "class"))
    if name == "IOPRIO_CLASS_NONE":
        draft.spec["process"].pop("ioPriority", None)
    else:
        draft.spec["process"]["ioPriority"] = {"class": name, "priority": asked.priority}


def _scheduler(draft: Draft, inputs: Inputs, adjustment: nri.ContainerAdjustment) -> None:
    if not adjustment.linux.HasField("scheduler"):
        return
    asked = adjustment.linux.scheduler
    if asked.policy == nri.SCHED_NONE:
        draft.spec["process"].pop("scheduler", None)
        return
    made: dict[str, Any] = {"policy": nri.LinuxSchedulerPolicy.Name(asked.policy)}
    made |= {key: getattr(asked, key) for key in ("nice", "priority", "runtime", "deadline", "period")}
    made["flags"] = [nri.LinuxSchedulerFlag.Name(flag) for flag in asked.flags]
    draft.spec["process"]["scheduler"] = {key: value for key, value in made.items() if value}


def _seccomp(draft: Draft, inputs: Inputs, adjustment: nri.ContainerAdjustment) -> None:
    """Replaces the whole filter."""
    if not adjustment.linux.HasField("seccomp_policy"):
        return
    if not inputs.host.seccomp:
        raise refuse("linux.seccomp_policy", "this kernel has no seccomp")
    asked = adjustment.linux.seccomp_policy
    made: dict[str, Any] = {"defaultAction": asked.default_action, "syscalls": [_syscall(s) for s in asked.syscalls]}
    if asked.HasField("default_errno"):
        made["defaultErrnoRet"] = asked.default_errno.value
    made |= {
        key: list(value) for key, value in (("architectures", asked.architectures), ("flags", asked.flags)) if value
    }
    made |= {
        key: value
        for key, value in (("listenerPath", asked.listener_path), ("listenerMetadata", asked.listener_metadata))
        if value
    }
    draft.spec["linux"]["seccomp"] = made


def _syscall(asked: nri.LinuxSyscall) -> dict[str, Any]:
    made: dict[str, Any] = {"names": list(asked.names), "action": asked.action}
    if asked.HasField("errno_ret"):
        made["errnoRet"] = asked.errno_ret.value
    if asked.args:
        made["args"] = [{"index": a.index, "value": a.value, "valueTwo": a.value_two, "op": a.op} for a in asked.args]
    return made


def _namespaces(draft: Draft, inputs: Inputs, adjustment: nri.ContainerAdjustment) -> None:
    """Replaced or removed by type. Not the network namespace, which has the pod's devices."""
    for asked in adjustment.linux.namespaces:
        kind = removed(asked.type) or asked.type
        if kind == "network":
            raise refuse("linux.namespaces", "the network namespace is the pod's", key=kind)
        spaces = [n for n in draft.spec["linux"].get("namespaces") or [] if n["type"] != kind]
        if not removed(asked.type):
            spaces.append({"type": kind} | ({"path": asked.path} if asked.path else {}))
        draft.spec["linux"]["namespaces"] = spaces


def _sysctl(draft: Draft, inputs: Inputs, adjustment: nri.ContainerAdjustment) -> None:
    if adjustment.linux.sysctl:
        _merge(draft.spec["linux"].setdefault("sysctl", {}), adjustment.linux.sysctl.items())


def _memory_policy(draft: Draft, inputs: Inputs, adjustment: nri.ContainerAdjustment) -> None:
    if not adjustment.linux.HasField("memory_policy"):
        return
    known = (inputs.features or {}).get("linux", {}).get("memoryPolicy")
    if not known:
        raise refuse("linux.memory_policy", "the OCI runtime does not say that it can set one")
    asked = adjustment.linux.memory_policy
    made: dict[str, Any] = {"mode": nri.MpolMode.Name(asked.mode)}
    made |= {"nodes": asked.nodes} if asked.nodes else {}
    made |= {"flags": [nri.MpolFlag.Name(flag) for flag in asked.flags]} if asked.flags else {}
    draft.spec["linux"]["memoryPolicy"] = made


def _rdt(draft: Draft, inputs: Inputs, adjustment: nri.ContainerAdjustment) -> None:
    """linux.intelRdt. remove: drop the old values, then set the new ones."""
    if not adjustment.linux.HasField("rdt"):
        return
    asked = adjustment.linux.rdt
    made: dict[str, Any] = {} if asked.remove else dict(draft.spec["linux"].get("intelRdt") or {})
    made |= {"closID": asked.clos_id.value} if asked.HasField("clos_id") else {}
    made |= {"schemata": list(asked.schemata.value)} if asked.HasField("schemata") else {}
    made |= {"enableMonitoring": asked.enable_monitoring.value} if asked.HasField("enable_monitoring") else {}
    draft.spec["linux"].pop("intelRdt", None)
    if made:
        draft.spec["linux"]["intelRdt"] = made


def _mounts(draft: Draft, inputs: Inputs, adjustment: nri.ContainerAdjustment) -> None:
    """Each replaces the one at its destination. A shared or slave one needs a root mount with that propagation."""
    if not adjustment.mounts:
        return
    there = {posixpath.normpath(mount["destination"]): mount for mount in draft.spec["mounts"]}
    _merge(there, ((_destination(mount), _mount(mount)) for mount in adjustment.mounts))
    draft.spec["mounts"] = list(there.values())
    mount_order(draft, inputs)
    wanted = {_PROPAGATION.get(option) for mount in adjustment.mounts for option in mount.options}
    linux = draft.spec["linux"]
    if "rshared" in wanted:
        linux["rootfsPropagation"] = "rshared"
    elif "rslave" in wanted and linux.get("rootfsPropagation") != "rshared":
        linux["rootfsPropagation"] = "rslave"
    try:
        check_proc_mounts(draft, inputs)
    except CrishimError as error:
        raise refuse("mounts", error.message, kind=error.kind) from error


def _destination(mount: nri.Mount) -> str:
    path = removed(mount.destination) or mount.destination
    if not path.startswith("/"):
        raise refuse("mounts", f"the destination is not absolute: {mount.destination!r}", kind=Kind.INVALID)
    return ("-" if removed(mount.destination) else "") + posixpath.normpath(path)


def _mount(mount: nri.Mount) -> dict[str, Any]:
    options = [option for option in mount.options if option != "relabel"]  # for SELinux, not for mount(2)
    return {"destination": mount.destination, "type": mount.type or "bind", "source": mount.source, "options": options}


def _rlimits(draft: Draft, inputs: Inputs, adjustment: nri.ContainerAdjustment) -> None:
    """By type, RLIMIT_NOFILE or nofile; at most what the daemon may set."""
    if not adjustment.rlimits:
        return
    process = draft.spec["process"]
    there = {limit["type"]: limit for limit in process.get("rlimits") or []}
    for asked in adjustment.rlimits:
        name = asked.type if asked.type.startswith("RLIMIT_") else f"RLIMIT_{asked.type.upper()}"
        if asked.soft > asked.hard:
            raise refuse("rlimits", f"{name} has a soft limit above its hard limit", key=asked.type, kind=Kind.INVALID)
        there[name] = {"type": name, **_within(inputs, name, asked.soft, asked.hard, draft.notes)}
    process["rlimits"] = list(there.values())


def _within(inputs: Inputs, name: str, soft: int, hard: int, notes: list[str]) -> dict[str, int]:
    """The limit, at most what the daemon may set."""
    most = inputs.host.rlimits.get(name, (0, -1))[1]
    if most < 0 or hard <= most or "CAP_SYS_RESOURCE" in inputs.host.capabilities:
        return {"soft": soft, "hard": hard}
    notes.append(f"{name} {hard} becomes {most}: without CAP_SYS_RESOURCE the daemon cannot go higher")
    return {"soft": min(soft, most), "hard": most}


BEFORE_CDI: tuple[Editor, ...] = (_annotations, _env, _args, _hooks)
AFTER_CDI: tuple[Editor, ...] = (
    *(_devices, _cgroups_path, _oom_score, _io_priority, _scheduler, _seccomp),
    *(_namespaces, _sysctl, _memory_policy, resources, _rdt, _mounts, _rlimits),
)
