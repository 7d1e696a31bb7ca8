"""`crishim config default`: the default configuration as TOML, with the descriptions in config.py."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from msgspec import Meta

from crishim.cli import toml_text
from crishim.config import Config, Section


def render_default() -> str:
    """The default configuration as TOML, each key below its description."""
    lines = ["# crishim's settings, with their defaults. Keys that are left out keep them.", ""]
    _render(Config(), "", lines)
    return "\n".join(lines).rstrip() + "\n"


def _render(section: Section, prefix: str, lines: list[str]) -> None:
    hints = get_type_hints(type(section), include_extras=True)
    tables: list[tuple[str, Any]] = []
    for name in section.__struct_fields__:
        value = getattr(section, name)
        is_table = isinstance(value, Section) or (isinstance(value, dict) and value)
        if is_table:
            tables.append((name, value))
            continue
        lines += [f"# {text}" for text in _descriptions(hints[name])]
        lines += [f"{name} = {toml_text.encode(value)}", ""]
    for name, value in tables:
        if isinstance(value, dict):
            lines += [f"# {text}" for text in _descriptions(hints[name])]
        for key, table in value.items() if isinstance(value, dict) else [("", value)]:
            path = ".".join(filter(None, (prefix, name, key)))
            lines += [f"[{path}]"]
            _render(table, path, lines)


def described_settings(kind: type[Section] = Config, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each setting as KEY = DEFAULT, and its description."""
    for name, hint in get_type_hints(kind, include_extras=True).items():
        value = getattr(kind(), name) if name in kind.__struct_fields__ else None
        if isinstance(value, Section):
            yield from described_settings(type(value), f"{prefix}{name}.")
        elif name in kind.__struct_fields__:
            default = "" if isinstance(value, dict) and value else f" = {toml_text.encode(value)}"
            yield f"{prefix}{name}{default}", "; ".join(_descriptions(hint))


def _descriptions(hint: Any) -> list[str]:
    if get_origin(hint) is not Annotated:
        return []
    base, *metas = get_args(hint)
    choices = [" | ".join(f'"{a}"' for a in get_args(base))] if get_origin(base) is Literal else []
    return [m.description for m in metas if isinstance(m, Meta) and m.description] + choices
