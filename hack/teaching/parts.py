"""The parts of a config.json by a path of their own, and where each is from."""

import json
from collections.abc import Mapping
from typing import Any

KEYED = {"mounts": "destination", "linux.namespaces": "type"}  # lists whose elements have a name
AFTERWARDS = {"linux.netDevices": "crishim/netdev/plan.py, written by crishim/operations/launch.py write_bundle"}
BASE = "bundles/base.json"


def flatten(spec: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Path -> value: "process.args", "mounts[/proc]"; a list without names is one value."""
    found: dict[str, Any] = {}
    for key, value in spec.items():
        path = f"{prefix}{key}"
        if path in KEYED:
            found |= {f"{path}[{element[KEYED[path]]}]": element for element in value}
        elif isinstance(value, dict) and value and path not in AFTERWARDS:
            found |= flatten(value, path + ".")
        else:
            found[path] = value
    return found


def with_origins(spec: Mapping[str, Any], origins: Mapping[str, str], wanted: list[str]) -> str:
    """Each wanted part of a config.json, and below it who wrote it."""
    lines = []
    found = flatten(spec)
    for path in wanted:
        lines.append(f"{path} = {json.dumps(found[path])}")
        lines.append(f"    {AFTERWARDS.get(path) or origins.get(path, BASE)}")
    return "\n".join(lines)
