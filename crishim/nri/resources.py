"""Merge LinuxResources of several plugins, for a container being created and for updates of existing ones."""

from collections.abc import Callable

from google.protobuf.message import Message

from crishim.pb import nri_pb2 as nri
from crishim.pb.nri import fields_pb2 as fields

Claim = Callable[[int, str], None]  # field, key

MEMORY = {
    "limit": fields.MemLimit,
    "reservation": fields.MemReservation,
    "swap": fields.MemSwapLimit,
    "kernel": fields.MemKernelLimit,
    "kernel_tcp": fields.MemTCPLimit,
    "swappiness": fields.MemSwappiness,
    "disable_oom_killer": fields.MemDisableOomKiller,
    "use_hierarchy": fields.MemUseHierarchy,
}
CPU = {
    "shares": fields.CPUShares,
    "quota": fields.CPUQuota,
    "period": fields.CPUPeriod,
    "realtime_runtime": fields.CPURealtimeRuntime,
    "realtime_period": fields.CPURealtimePeriod,
    "cpus": fields.CPUSetCPUs,
    "mems": fields.CPUSetMems,
}
OTHERS = {"blockio_class": fields.BlockioClass, "rdt_class": fields.RdtClass, "pids": fields.PidsLimit}


def is_set(message: Message, name: str) -> bool:
    """Whether a field is set: a message that is present, or a text or list that is not empty."""
    field = message.DESCRIPTOR.fields_by_name[name]
    return message.HasField(name) if field.has_presence else bool(getattr(message, name))


def put(target: Message, source: Message, name: str) -> None:
    """Copy a field from another message of the same type."""
    target.ClearField(name)
    if isinstance(value := getattr(source, name), Message):
        getattr(target, name).SetInParent()  # an empty message, too
        getattr(target, name).CopyFrom(value)
    else:
        setattr(target, name, value)


def merge(target: nri.LinuxResources, given: nri.LinuxResources, claim: Claim) -> None:
    """Set in target what is set in given, each after claim(). Raises what claim() does; target is then incomplete."""
    for name, field in MEMORY.items():
        if given.HasField("memory") and is_set(given.memory, name):
            claim(field, "")
            put(target.memory, given.memory, name)
    for name, field in CPU.items():
        if given.HasField("cpu") and is_set(given.cpu, name):
            claim(field, "")
            put(target.cpu, given.cpu, name)
    for name, field in OTHERS.items():
        if is_set(given, name):
            claim(field, "")
            put(target, given, name)
    for limit in given.hugepage_limits:
        claim(fields.HugepageLimits, limit.page_size)
        kept = [each for each in target.hugepage_limits if each.page_size != limit.page_size]
        del target.hugepage_limits[:]
        target.hugepage_limits.extend([*kept, limit])
    for key, value in given.unified.items():
        claim(fields.CgroupsUnified, key)
        target.unified[key] = value
    target.devices.extend(given.devices)  # an ordered list of rules: every plugin may add


def lay_over(target: nri.LinuxResources, given: nri.LinuxResources) -> None:
    """Set in target what is set in given, without claims."""
    merge(target, given, lambda field, key: None)
