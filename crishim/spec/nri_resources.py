"""LinuxResources of an NRI adjustment or update: in config.json, and as OCI resources for `RUNTIME update`."""

from typing import Any

from google.protobuf.message import Message

from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri
from crishim.pb import nri_pb2 as nri
from crishim.spec.inputs import Draft, Host, Inputs

MEMORY = {
    "limit": "limit",
    "reservation": "reservation",
    "swap": "swap",
    "kernel": "kernel",
    "kernel_tcp": "kernelTCP",
    "swappiness": "swappiness",
    "disable_oom_killer": "disableOOMKiller",
    "use_hierarchy": "useHierarchy",
}
_INT64_MAX = (1 << 63) - 1  # the widest number of CRI and of the runtimes
_V1_ONLY = ("kernel", "kernel_tcp", "swappiness", "disable_oom_killer", "use_hierarchy")
CPU = {
    "shares": "shares",
    "quota": "quota",
    "period": "period",
    "realtime_runtime": "realtimeRuntime",
    "realtime_period": "realtimePeriod",
}


def resources(draft: Draft, inputs: Inputs, adjustment: nri.ContainerAdjustment) -> None:
    """linux.resources; each value replaces the container's own."""
    if adjustment.linux.HasField("resources"):
        oci = draft.spec["linux"].setdefault("resources", {})
        merge(oci, to_oci(adjustment.linux.resources, inputs.host))


def to_oci(asked: nri.LinuxResources, host: Host) -> dict[str, Any]:
    """OCI's linux.resources with what is given. PRECONDITION names a field that this host cannot limit."""
    made = {
        "memory": _memory(asked, host),
        "cpu": _cpu(asked.cpu),
        "hugepageLimits": _huge_pages(asked, host),
        "unified": _unified(asked, host),
        "devices": [_rule(rule) for rule in asked.devices],
        "pids": {"limit": asked.pids.limit} if asked.HasField("pids") else {},
    }
    for field in ("blockio_class", "rdt_class"):
        if asked.HasField(field) and getattr(asked, field).value:
            raise _refuse(field, "no classes are configured on this node")
    return {key: value for key, value in made.items() if value}


def to_cri(asked: nri.LinuxResources) -> cri.LinuxContainerResources:
    """What is given, as far as CRI has a field: for the container's status and as base of its next update.

    PRECONDITION names a field with a number that CRI cannot hold.
    """
    memory, cpu = given(asked.memory), _cpu(asked.cpu)
    made = cri.LinuxContainerResources(
        memory_limit_in_bytes=memory.get("limit", 0),
        memory_swap_limit_in_bytes=memory.get("swap", 0),
        cpuset_cpus=asked.cpu.cpus,
        cpuset_mems=asked.cpu.mems,
        hugepage_limits=[cri.HugepageLimit(page_size=h.page_size, limit=h.limit) for h in asked.hugepage_limits],
        unified=asked.unified,
    )
    for name in ("shares", "quota", "period"):
        setattr(made, f"cpu_{name}", cpu.get(name, 0))
    return made


def merge(oci: dict[str, Any], changes: dict[str, Any]) -> None:
    """Change OCI resources in place: values by name, huge pages by size, device rules are added."""
    for part in ("memory", "cpu", "pids", "unified"):
        if part in changes:
            oci[part] = (oci.get(part) or {}) | changes[part]
    if "hugepageLimits" in changes:
        sizes = {h["pageSize"]: h for h in (*(oci.get("hugepageLimits") or ()), *changes["hugepageLimits"])}
        oci["hugepageLimits"] = list(sizes.values())
    oci["devices"] = [*(oci.get("devices") or ()), *changes.get("devices", ())]


def given(message: Message) -> dict[str, Any]:
    """The values of the optional fields that are set: NRI wraps each in a message with one field, `value`."""
    return {field.name: one.value for field, one in message.ListFields() if hasattr(one, "value")}


def _memory(asked: nri.LinuxResources, host: Host) -> dict[str, Any]:
    """A limit without a swap limit is one for both, as the kubelet's; a limit of 0 is none."""
    made = {MEMORY[field]: value for field, value in given(asked.memory).items()}
    for field in _V1_ONLY:
        if MEMORY[field] in made and host.cgroup_version != 1:
            raise _refuse(f"memory.{field}", "cgroup v2 has no such limit")
    if made.get("limit") == 0:
        del made["limit"]
    if not host.swap:
        if made.pop("swap", made.get("limit", -1)) not in (made.get("limit"), -1):
            raise _refuse("memory.swap", "this kernel does not count swap")
    elif "limit" in made:
        made.setdefault("swap", made["limit"])
    return made


def _huge_pages(asked: nri.LinuxResources, host: Host) -> list[dict[str, Any]]:
    """A kubelet sends a limit for every size of the node, mostly 0: without the controller those are left out."""
    if "hugetlb" in host.controllers:
        return [{"pageSize": h.page_size, "limit": h.limit} for h in asked.hugepage_limits]
    if any(h.limit for h in asked.hugepage_limits):
        raise _refuse("hugepage_limits", "the hugetlb cgroup controller is not there")
    return []


def _cpu(asked: nri.LinuxCPU) -> dict[str, Any]:
    made = {CPU[field]: value for field, value in given(asked).items() if field in CPU}
    for field, key in CPU.items():
        if made.get(key, 0) > _INT64_MAX:
            raise _refuse(f"cpu.{field}", f"{made[key]} is out of range")
    return made | {key: getattr(asked, key) for key in ("cpus", "mems") if getattr(asked, key)}


def _unified(asked: nri.LinuxResources, host: Host) -> dict[str, str]:
    if asked.unified and host.cgroup_version == 1:
        raise _refuse("unified", "these are cgroup v2's files, and this node has cgroup v1")
    return dict(asked.unified)


def _rule(asked: nri.LinuxDeviceCgroup) -> dict[str, Any]:
    made: dict[str, Any] = {"allow": asked.allow, "type": asked.type or "a", "access": asked.access or "rwm"}
    return made | {key: getattr(asked, key).value for key in ("major", "minor") if asked.HasField(key)}


def _refuse(field: str, why: str) -> CrishimError:
    name = f"linux.resources.{field}"
    return CrishimError(Kind.PRECONDITION, f"{name} cannot be applied: {why}", field=name)
