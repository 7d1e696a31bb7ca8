"""Apply an adjustment to NRI's Container message, for the next plugin. Pure; spec/ changes config.json.

CDI devices are names until they are resolved, and are left out; the Container message has no memory policy.
"""

from typing import Any

from crishim.nri import resources
from crishim.nri.adjustments import HOOKS, KEYED, MAPPED, MARK, SIMPLE, Keyed, at, unmarked
from crishim.nri.resources import is_set, put
from crishim.pb import nri_pb2 as nri

_NOT_SHOWN = {"CDI_devices", "memory_policy"}


def adjusted(container: nri.Container, adjustment: nri.ContainerAdjustment) -> nri.Container:
    """A copy of the container with a merged adjustment (Adjustments.merged) applied."""
    made = nri.Container()
    made.CopyFrom(container)
    for keyed in KEYED:
        if keyed.path == ("env",):
            _environment(made, adjustment)
        elif keyed.path[0] not in _NOT_SHOWN:
            _keyed(made, keyed, adjustment)
    for mapped in MAPPED:
        _mapped(at(made, mapped.path), at(adjustment, mapped.path))
    for name in SIMPLE:
        if name not in _NOT_SHOWN and is_set(adjustment.linux, name):
            put(made.linux, adjustment.linux, name)
    if adjustment.args:
        del made.args[:]
        made.args.extend(adjustment.args)
    if any(getattr(adjustment.hooks, name) for name in HOOKS):
        made.hooks.MergeFrom(adjustment.hooks)
    if adjustment.linux.HasField("rdt"):
        _rdt(made, adjustment.linux.rdt)
    if adjustment.linux.HasField("resources"):
        resources.lay_over(made.linux.resources, adjustment.linux.resources)
    return made


def _keyed(made: nri.Container, rule: Keyed, adjustment: nri.ContainerAdjustment) -> None:
    entries, target = at(adjustment, rule.path), at(made, rule.path)
    if not entries:
        return
    touched = {unmarked(getattr(entry, rule.key))[0] for entry in entries}
    kept = [entry for entry in target if getattr(entry, rule.key) not in touched]
    del target[:]
    target.extend(kept)
    target.extend(entry for entry in entries if not getattr(entry, rule.key).startswith(MARK))


def _environment(made: nri.Container, adjustment: nri.ContainerAdjustment) -> None:
    """A variable that is changed keeps its position."""
    if not adjustment.env:
        return
    changes = {entry.key: f"{entry.key}={entry.value}" for entry in adjustment.env}
    result = []
    for variable in made.env:
        name = variable.partition("=")[0]
        if MARK + name not in changes:
            result.append(changes.pop(name, variable))
    result += [text for name, text in changes.items() if not name.startswith(MARK)]
    del made.env[:]
    made.env.extend(result)


def _mapped(target: Any, entries: Any) -> None:
    for name in entries:
        key, removed = unmarked(name)
        if removed:
            target.pop(key, None)
        elif isinstance(entries[name], str):
            target[key] = entries[name]
        else:
            target[key].CopyFrom(entries[name])


def _rdt(made: nri.Container, rdt: nri.LinuxRdt) -> None:
    if rdt.remove:
        made.linux.ClearField("rdt")
    for name in ("clos_id", "schemata", "enable_monitoring"):
        if is_set(rdt, name):
            put(made.linux.rdt, rdt, name)
