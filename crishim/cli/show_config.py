"""`crishim config show`: the settings that the files amount to, as TOML, each with the file it comes from."""

import json
import re
from typing import Any

import msgspec

from crishim.config_files import ConfigFile, origin, settings_of

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def render(files: list[ConfigFile]) -> str:
    """TOML that means the same settings. A comment names the file of each value; one without is a default."""
    lines: list[str] = []
    _render(msgspec.to_builtins(settings_of(files)), (), files, lines)
    return "\n".join(lines).strip() + "\n"


def _render(table: dict[str, Any], path: tuple[str, ...], files: list[ConfigFile], lines: list[str]) -> None:
    values = {name: value for name, value in table.items() if not isinstance(value, dict)}
    if path and (values or not table):
        lines += ["", f"[{'.'.join(map(_key, path))}]"]
    for name, value in values.items():
        (*_, where) = [None, *origin(files, (*path, name))]
        lines.append(f"{_key(name)} = {_toml(value)}" + (f"  # {where}" if where else ""))
    for name, value in table.items():
        if isinstance(value, dict):
            _render(value, (*path, name), files, lines)


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace(
            "\x7f", "\\u007f"
        )  # TOML's escapes are JSON's, and this one
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(name)} = {_toml(each)}" for name, each in value.items()) + "}"
    return str(value).lower()  # booleans and numbers


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _toml(name)
