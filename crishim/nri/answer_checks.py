"""Checks of a plugin's answer to CreateContainer that need no knowledge of the container; run before it is merged.

A flat list of checks, each a generator of (field, what is wrong). Conflicts with the pod or the node are found when it
is applied. In a removal only the marked key is checked.
"""

from collections.abc import Callable, Iterator

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from crishim.errors import CrishimError, Kind
from crishim.nri.adjustments import HOOKS, MARK
from crishim.pb import nri_pb2 as nri

Faults = Iterator[tuple[str, str]]
NAMESPACES = ("network", "ipc", "pid", "mount", "uts", "user", "cgroup", "time")
DEVICES = ("c", "b", "u", "p")


def check(plugin: str, adjustment: nri.ContainerAdjustment) -> None:
    """Raise INVALID for the first wrong field, with the plugin and the field."""
    for each in CHECKS:
        for field, what in each(adjustment):
            raise CrishimError(
                Kind.INVALID, f"NRI plugin {plugin}: adjustment {field} {what}", plugin=plugin, field=field
            )


def unknown_fields(adjustment: nri.ContainerAdjustment) -> Faults:
    """Fields of a later NRI: ignoring them would silently leave out what the plugin requests."""
    for message in _messages(adjustment):
        unknown = UnknownFieldSet(message)
        for field in (unknown[i] for i in range(len(unknown))):
            yield f"field {field.field_number} of {message.DESCRIPTOR.name}", "is not known to this version"


def texts(adjustment: nri.ContainerAdjustment) -> Faults:
    """Strings with a zero byte, where the kernel would end them."""
    for message in _messages(adjustment):
        for field, value in message.ListFields():
            if field.type == FieldDescriptor.TYPE_STRING and _has_zero(value):
                yield f"{message.DESCRIPTOR.name}.{field.name}", "has a zero byte"


def _has_zero(value: object) -> bool:
    values = [value] if isinstance(value, str) else list(value)  # type: ignore[call-overload]
    return any("\0" in each for each in values)


def enums(adjustment: nri.ContainerAdjustment) -> Faults:
    for message in _messages(adjustment):
        for field, value in message.ListFields():
            if field.enum_type is None:
                continue
            for number in value if field.is_repeated else [value]:
                if number not in field.enum_type.values_by_number:
                    yield f"{message.DESCRIPTOR.name}.{field.name}", f"has no value {number}"


def environment(adjustment: nri.ContainerAdjustment) -> Faults:
    for entry in adjustment.env:
        if "=" in entry.key:
            yield "env", f'has the name "{entry.key}"'


def paths(adjustment: nri.ContainerAdjustment) -> Faults:
    for mount in adjustment.mounts:
        if not mount.destination.removeprefix(MARK).startswith("/"):
            yield "mounts", f'has the destination "{mount.destination}", which is not absolute'
    for device in adjustment.linux.devices:
        if not device.path.removeprefix(MARK).startswith("/"):
            yield "linux.devices", f'has the path "{device.path}", which is not absolute'
    for name in HOOKS:
        for hook in getattr(adjustment.hooks, name):
            if not hook.path.startswith("/"):
                yield f"hooks.{name}", f'has the path "{hook.path}", which is not absolute'


def hooks(adjustment: nri.ContainerAdjustment) -> Faults:
    for name in HOOKS:
        for hook in getattr(adjustment.hooks, name):
            if hook.HasField("timeout") and hook.timeout.value <= 0:
                yield f"hooks.{name}", f"has a timeout of {hook.timeout.value} seconds"


def devices(adjustment: nri.ContainerAdjustment) -> Faults:
    for device in adjustment.linux.devices:
        if not device.path.startswith(MARK) and device.type not in DEVICES:
            yield "linux.devices", f'has the type "{device.type}" for {device.path}'


def namespaces(adjustment: nri.ContainerAdjustment) -> Faults:
    for namespace in adjustment.linux.namespaces:
        if namespace.type.removeprefix(MARK) not in NAMESPACES:
            yield "linux.namespaces", f'has the type "{namespace.type}"'


def rlimits(adjustment: nri.ContainerAdjustment) -> Faults:
    for limit in adjustment.rlimits:
        if not limit.type.startswith("RLIMIT_"):
            yield "rlimits", f'has the type "{limit.type}"'
        if limit.soft > limit.hard:
            yield "rlimits", f"has a soft limit above the hard one for {limit.type}"


def scheduling(adjustment: nri.ContainerAdjustment) -> Faults:
    linux = adjustment.linux
    if linux.HasField("oom_score_adj") and not -1000 <= linux.oom_score_adj.value <= 1000:
        yield "linux.oom_score_adj", f"is {linux.oom_score_adj.value}"
    if linux.HasField("io_priority") and not 0 <= linux.io_priority.priority <= 7:
        yield "linux.io_priority", f"is {linux.io_priority.priority}"
    if linux.HasField("scheduler") and not -20 <= linux.scheduler.nice <= 19:
        yield "linux.scheduler.nice", f"is {linux.scheduler.nice}"


def unified(adjustment: nri.ContainerAdjustment) -> Faults:
    for name in adjustment.linux.resources.unified:
        if "/" in name or "." not in name:
            yield "linux.resources.unified", f'names the file "{name}"'


def net_devices(adjustment: nri.ContainerAdjustment) -> Faults:
    for name, device in adjustment.linux.net_devices.items():
        if not name.startswith(MARK) and ("/" in device.name or len(device.name.encode()) > 15):
            yield "linux.net_devices", f'names {name} "{device.name}" in the container'


def _messages(message: Message) -> Iterator[Message]:
    """A message and all messages in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                for each in value.values():
                    yield from _messages(each)
        elif field.is_repeated:
            for each in value:
                yield from _messages(each)
        else:
            yield from _messages(value)


CHECKS: tuple[Callable[[nri.ContainerAdjustment], Faults], ...] = (
    unknown_fields,
    texts,
    enums,
    environment,
    paths,
    hooks,
    devices,
    namespaces,
    rlimits,
    scheduling,
    unified,
    net_devices,
)
