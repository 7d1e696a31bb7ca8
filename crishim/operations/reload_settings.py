"""Reload settings: apply those that can change in a running daemon, and report the others."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from crishim.config import Config, Section
from crishim.node import Node

RELOADED = (
    "log.level",
    "images.pinned",
    "images.policy",
    "images.registries_conf",
    "netdevices.allow",
    "netdevices.cdi_dirs",
)


class Reload(NamedTuple):
    """Keys of settings that have changed."""

    changed: list[str]  # in force now
    waiting: list[str]  # in force after a restart


def reload_settings(node: Node, wanted: Config) -> Reload:
    """Apply all settings of RELOADED in one step, without awaiting. Running operations keep the old ones."""
    changed = differences(node.settings.in_force, wanted)
    now = [key for key in changed if key in RELOADED]
    node.settings.in_force = _replaced(node.settings.in_force, wanted, now)
    logging.getLogger("crishim").setLevel(wanted.log.level.upper())
    node.images.pin(wanted.images.pinned)
    node.transport.use(*(_path(name) for name in (wanted.images.registries_conf, wanted.images.policy)))
    node.cdi.look_in([Path(directory) for directory in wanted.netdevices.cdi_dirs])
    node.netdevices.allow(wanted.netdevices.allow)
    return Reload(now, [key for key in changed if key not in RELOADED])


def differences(before: Section, after: Section, prefix: str = "") -> list[str]:
    """The keys whose values differ, as written in the file."""
    found = []
    for name in before.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(old, Section):
            found += differences(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append(f"{prefix}{name}")
    return found


def _replaced(before: Config, after: Config, keys: list[str]) -> Config:
    sections: dict[str, Any] = {}
    for section, _, name in (key.partition(".") for key in keys):
        values = {name: getattr(getattr(after, section), name)}
        sections[section] = msgspec.structs.replace(sections.get(section, getattr(before, section)), **values)
    return msgspec.structs.replace(before, **sections)


def _path(name: str) -> Path | None:
    return Path(name) if name else None
