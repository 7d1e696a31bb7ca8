"""Settings as TOML: as much of it as tests write."""

import json
from typing import Any


def to_toml(table: dict[str, Any], prefix: str = "") -> str:
    """Enough TOML for the settings."""
    lines = [f"{k} = {_toml(v)}" for k, v in table.items() if not isinstance(v, dict)]
    text = "".join(line + "\n" for line in lines)
    for key, value in table.items():
        if isinstance(value, dict):
            text += f"[{prefix}{key}]\n" + to_toml(value, f"{prefix}{key}.")
    return text


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    return "[" + ", ".join(map(_toml, value)) + "]" if isinstance(value, list) else json.dumps(value)
