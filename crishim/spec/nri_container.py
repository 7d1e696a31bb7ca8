"""A config.json as NRI plugins see it: the parts of nri.Container that come from the OCI spec."""

from collections.abc import Mapping
from typing import Any

from crishim.pb import cri_pb2 as cri
from crishim.pb import nri_pb2 as nri
from crishim.spec.nri_adjustment import HOOKS
from crishim.spec.nri_resources import CPU, MEMORY


def describe(spec: Mapping[str, Any]) -> nri.Container:
    """Arguments, environment, mounts, hooks, limits, user and all of linux; names and states are the caller's."""
    process = spec.get("process") or {}
    user = process.get("user") or {}
    return nri.Container(
        annotations=spec.get("annotations") or {},
        args=process.get("args") or (),
        env=process.get("env") or (),
        mounts=[_mount(mount) for mount in spec.get("mounts") or ()],
        hooks=_hooks(spec.get("hooks") or {}),
        linux=_linux(spec.get("linux") or {}, process),
        rlimits=[
            nri.POSIXRlimit(type=limit["type"], hard=limit["hard"], soft=limit["soft"])
            for limit in process.get("rlimits") or ()
        ],
        user=nri.User(uid=user.get("uid", 0), gid=user.get("gid", 0), additional_gids=user.get("additionalGids") or ()),
    )


def from_cri(given: cri.LinuxContainerResources) -> nri.LinuxResources:
    """A client's resources; 0 and "" mean "not given" in CRI."""
    made = nri.LinuxResources()
    for field, target in (
        ("memory_limit_in_bytes", made.memory.limit),
        ("memory_swap_limit_in_bytes", made.memory.swap),
    ):
        if getattr(given, field):
            target.value = getattr(given, field)
    for field in ("shares", "quota", "period"):
        if value := getattr(given, f"cpu_{field}"):
            getattr(made.cpu, field).value = value
    made.cpu.cpus, made.cpu.mems = given.cpuset_cpus, given.cpuset_mems
    made.hugepage_limits.extend(nri.HugepageLimit(page_size=h.page_size, limit=h.limit) for h in given.hugepage_limits)
    made.unified.update(given.unified)
    return made


def _mount(mount: Mapping[str, Any]) -> nri.Mount:
    return nri.Mount(
        destination=mount["destination"],
        type=mount.get("type", ""),
        source=mount.get("source", ""),
        options=mount.get("options") or (),
    )


def _hooks(hooks: Mapping[str, Any]) -> nri.Hooks:
    made = nri.Hooks()
    for field, name in HOOKS.items():
        for hook in hooks.get(name) or ():
            one = getattr(made, field).add(path=hook["path"], args=hook.get("args") or (), env=hook.get("env") or ())
            if "timeout" in hook:
                one.timeout.value = hook["timeout"]
    return made


def _linux(linux: Mapping[str, Any], process: Mapping[str, Any]) -> nri.LinuxContainer:
    made = nri.LinuxContainer(
        namespaces=[nri.LinuxNamespace(type=n["type"], path=n.get("path", "")) for n in linux.get("namespaces") or ()],
        devices=[_device(device) for device in linux.get("devices") or ()],
        resources=_resources(linux.get("resources") or {}),
        cgroups_path=linux.get("cgroupsPath", ""),
        sysctl=linux.get("sysctl") or {},
        net_devices={
            host: nri.LinuxNetDevice(name=device.get("name", ""))
            for host, device in (linux.get("netDevices") or {}).items()
        },
    )
    if "oomScoreAdj" in process:
        made.oom_score_adj.value = process["oomScoreAdj"]
    if priority := process.get("ioPriority"):
        made.io_priority.CopyFrom(
            nri.LinuxIOPriority(priority=priority["priority"], **{"class": nri.IOPrioClass.Value(priority["class"])})
        )
    if scheduler := process.get("scheduler"):
        fields = {k: scheduler[k] for k in ("nice", "priority", "runtime", "deadline", "period") if k in scheduler}
        flags = [nri.LinuxSchedulerFlag.Value(flag) for flag in scheduler.get("flags") or ()]
        policy = nri.LinuxSchedulerPolicy.Value(scheduler["policy"])
        made.scheduler.CopyFrom(nri.LinuxScheduler(policy=policy, flags=flags, **fields))
    if seccomp := linux.get("seccomp"):
        made.seccomp_policy.CopyFrom(_seccomp(seccomp))
    return made


def _device(device: Mapping[str, Any]) -> nri.LinuxDevice:
    made = nri.LinuxDevice(
        path=device["path"], type=device["type"], major=device.get("major", 0), minor=device.get("minor", 0)
    )
    for key, field in (("fileMode", "file_mode"), ("uid", "uid"), ("gid", "gid")):
        if device.get(key) is not None:
            getattr(made, field).value = device[key]
    return made


def _resources(oci: Mapping[str, Any]) -> nri.LinuxResources:
    made = nri.LinuxResources(
        hugepage_limits=[
            nri.HugepageLimit(page_size=h["pageSize"], limit=h["limit"]) for h in oci.get("hugepageLimits") or ()
        ],
        unified=oci.get("unified") or {},
        devices=[_rule(rule) for rule in oci.get("devices") or ()],
    )
    for part, names in (("memory", MEMORY), ("cpu", CPU)):
        for field, key in names.items():
            if (oci.get(part) or {}).get(key) is not None:
                getattr(getattr(made, part), field).value = oci[part][key]
    cpu = oci.get("cpu") or {}
    made.cpu.cpus, made.cpu.mems = cpu.get("cpus", ""), cpu.get("mems", "")
    if pids := oci.get("pids"):
        made.pids.limit = pids["limit"]
    return made


def _rule(rule: Mapping[str, Any]) -> nri.LinuxDeviceCgroup:
    made = nri.LinuxDeviceCgroup(allow=rule["allow"], type=rule.get("type", ""), access=rule.get("access", ""))
    for key in ("major", "minor"):
        if rule.get(key) is not None:
            getattr(made, key).value = rule[key]
    return made


def _seccomp(seccomp: Mapping[str, Any]) -> nri.LinuxSeccomp:
    made = nri.LinuxSeccomp(
        default_action=seccomp["defaultAction"],
        architectures=seccomp.get("architectures") or (),
        flags=seccomp.get("flags") or (),
        listener_path=seccomp.get("listenerPath", ""),
        listener_metadata=seccomp.get("listenerMetadata", ""),
    )
    if "defaultErrnoRet" in seccomp:
        made.default_errno.value = seccomp["defaultErrnoRet"]
    for rule in seccomp.get("syscalls") or ():
        one = made.syscalls.add(names=rule["names"], action=rule["action"])
        if "errnoRet" in rule:
            one.errno_ret.value = rule["errnoRet"]
        for a in rule.get("args") or ():
            one.args.add(index=a["index"], value=a["value"], value_two=a.get("valueTwo", 0), op=a["op"])
    return made
