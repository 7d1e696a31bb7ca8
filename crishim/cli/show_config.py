"""`crishim config show`: the merged settings of all files as TOML, each with the file it comes from."""

from typing import Any

import msgspec

from crishim.cli import toml_text
from crishim.config_files import ConfigFile, origin, settings_of


def render(files: list[ConfigFile]) -> str:
    """The settings as TOML. A comment names the file of each value; those without are defaults."""
    lines: list[str] = []
    _render(msgspec.to_builtins(settings_of(files)), (), files, lines)
    return "\n".join(lines).strip() + "\n"


def _render(table: dict[str, Any], path: tuple[str, ...], files: list[ConfigFile], lines: list[str]) -> None:
    values = {name: value for name, value in table.items() if not isinstance(value, dict)}
    if path and (values or not table):
        lines += ["", f"[{'.'.join(map(toml_text.key, path))}]"]
    for name, value in values.items():
        (*_, where) = [None, *origin(files, (*path, name))]
        lines.append(f"{toml_text.key(name)} = {toml_text.encode(value)}" + (f"  # {where}" if where else ""))
    for name, value in table.items():
        if isinstance(value, dict):
            _render(value, (*path, name), files, lines)
