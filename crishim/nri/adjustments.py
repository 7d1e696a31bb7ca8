"""Merge the adjustments of several plugins for one container being created into one ContainerAdjustment. Pure.

Plugins answer one after the other; each gets the container as those before it changed it. An answer's removals are
applied first, then its values: a key marked with "-" removes what the container or an earlier plugin has. In the result
a key occurs once, with its value, or marked and without one.

    args        a first element "" overrides another plugin's args and is not part of the command
    hooks       those of all plugins, in order; likewise the device rules in resources
    linux.rdt   remove: everything set before is removed, then the values are set
    rlimits, CDI_devices and resources have no removal

Source: docs of github.com/containerd/nri v0.12.5 and its pkg/adaptation, which applies map keys and their removals in
random order, and loses removals of variables and devices that the container had from its image or its pod.
"""

from typing import Any, NamedTuple

from crishim.errors import CrishimError, Kind
from crishim.nri import resources
from crishim.nri.owners import Owners
from crishim.nri.resources import is_set, put
from crishim.pb import nri_pb2 as nri
from crishim.pb.nri import fields_pb2 as fields

MARK = "-"


class Keyed(NamedTuple):
    """A repeated field whose entries have a key."""

    path: tuple[str, ...]  # of the list in ContainerAdjustment
    key: str  # field of an entry
    field: int
    removable: bool = True


class Mapped(NamedTuple):
    """A map."""

    path: tuple[str, ...]
    field: int


KEYED = (
    Keyed(("mounts",), "destination", fields.Mounts),
    Keyed(("env",), "key", fields.Env),
    Keyed(("rlimits",), "type", fields.Rlimits, removable=False),
    Keyed(("CDI_devices",), "name", fields.CdiDevices, removable=False),
    Keyed(("linux", "devices"), "path", fields.Devices),
    Keyed(("linux", "namespaces"), "type", fields.Namespace),
)
MAPPED = (
    Mapped(("annotations",), fields.Annotations),
    Mapped(("linux", "sysctl"), fields.Sysctl),
    Mapped(("linux", "net_devices"), fields.LinuxNetDevices),
)
SIMPLE = {  # of LinuxContainerAdjustment
    "cgroups_path": fields.CgroupsPath,
    "oom_score_adj": fields.OomScoreAdj,
    "io_priority": fields.IoPriority,
    "seccomp_policy": fields.SeccompPolicy,
    "scheduler": fields.LinuxSched,
    "memory_policy": fields.MemoryPolicy,
}
RDT = {
    "clos_id": fields.RdtClosID,
    "schemata": fields.RdtSchemata,
    "enable_monitoring": fields.RdtEnableMonitoring,
}
HOOKS = ("prestart", "create_runtime", "create_container", "start_container", "poststart", "poststop")


def at(message: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        message = getattr(message, name)
    return message


def unmarked(key: str) -> tuple[str, bool]:
    """A key without its mark, and whether it had one."""
    return (key[1:], True) if key.startswith(MARK) else (key, False)


class Adjustments:
    """Collects the answers of one round."""

    def __init__(self) -> None:
        self.merged = nri.ContainerAdjustment()
        self.owners = Owners()

    def collect(self, plugin: str, given: nri.ContainerAdjustment) -> None:
        """Add one plugin's answer. Raises PRECONDITION if another plugin set the same, INVALID for an empty key or
        command.

        After an error the merged adjustment must not be used.
        """
        for keyed in KEYED:
            self._keyed(plugin, keyed, given)
        for mapped in MAPPED:
            self._mapped(plugin, mapped, given)
        for name, field in SIMPLE.items():
            if is_set(given.linux, name):
                self.owners.claim(field, plugin)
                put(self.merged.linux, given.linux, name)
        self._args(plugin, given)
        self._hooks(plugin, given)
        self._rdt(plugin, given)
        if given.linux.HasField("resources"):
            merged = self.merged.linux.resources
            resources.merge(merged, given.linux.resources, lambda field, key: self.owners.claim(field, plugin, key))

    def _keyed(self, plugin: str, rule: Keyed, given: nri.ContainerAdjustment) -> None:
        entries = at(given, rule.path)
        if not entries:
            return
        merged, marks, values = at(self.merged, rule.path), {}, []
        for entry in entries:
            key, marked = unmarked(getattr(entry, rule.key)) if rule.removable else (getattr(entry, rule.key), False)
            _not_empty(plugin, rule.path, key)
            if marked:
                marks[key] = entry
            else:
                values.append((key, entry))
        for key in marks:
            self.owners.take_over(rule.field, plugin, key)
        for key, _ in values:
            self.owners.claim(rule.field, plugin, key)
        touched = {*marks, *(key for key, _ in values)}
        kept = [entry for entry in merged if unmarked(getattr(entry, rule.key))[0] not in touched]
        set_now = {key for key, _ in values}
        del merged[:]
        merged.extend(kept)
        merged.extend(entry for key, entry in marks.items() if key not in set_now)
        merged.extend(entry for _, entry in values)

    def _mapped(self, plugin: str, rule: Mapped, given: nri.ContainerAdjustment) -> None:
        entries, merged = at(given, rule.path), at(self.merged, rule.path)
        for marked in (True, False):
            for name in sorted(entries):
                key, removes = unmarked(name)
                if removes is not marked:
                    continue
                _not_empty(plugin, rule.path, key)
                (self.owners.take_over if removes else self.owners.claim)(rule.field, plugin, key)
                merged.pop(key, None)
                merged.pop(MARK + key, None)
                if isinstance(entries[name], str):
                    merged[name] = entries[name]
                else:
                    merged[name].CopyFrom(entries[name])

    def _args(self, plugin: str, given: nri.ContainerAdjustment) -> None:
        if not given.args:
            return
        args = list(given.args)
        if args[0] == "":
            self.owners.take_over(fields.Args, plugin)
            args = args[1:]
        if not args:
            raise _invalid(plugin, "args", "is an empty command")
        self.owners.claim(fields.Args, plugin)
        del self.merged.args[:]
        self.merged.args.extend(args)

    def _hooks(self, plugin: str, given: nri.ContainerAdjustment) -> None:
        if any(getattr(given.hooks, name) for name in HOOKS):
            self.owners.add(fields.OciHooks, plugin)
            self.merged.hooks.MergeFrom(given.hooks)

    def _rdt(self, plugin: str, given: nri.ContainerAdjustment) -> None:
        if not given.linux.HasField("rdt"):
            return
        if given.linux.rdt.remove:
            for field in RDT.values():
                self.owners.take_over(field, plugin)
            self.merged.linux.rdt.Clear()
            self.merged.linux.rdt.remove = True
        for name, field in RDT.items():
            if is_set(given.linux.rdt, name):
                self.owners.claim(field, plugin)
                put(self.merged.linux.rdt, given.linux.rdt, name)


def _not_empty(plugin: str, path: tuple[str, ...], key: str) -> None:
    if not key:
        raise _invalid(plugin, ".".join(path), "has an entry with an empty key")


def _invalid(plugin: str, field: str, what: str) -> CrishimError:
    return CrishimError(Kind.INVALID, f"NRI plugin {plugin}: adjustment {field} {what}", plugin=plugin, field=field)
