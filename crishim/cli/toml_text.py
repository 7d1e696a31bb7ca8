"""Values and keys of TOML, as `crishim config` prints them. toml.io/en/v1.0.0."""

import json
import re
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def encode(value: Any) -> str:
    """A string, number, boolean, list or table, on one line."""
    if isinstance(value, str):
        # TOML's escapes are JSON's, and one more: DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(encode, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key(name)} = {encode(each)}" for name, each in value.items()) + "}"
    return str(value).lower()  # booleans and numbers


def key(name: str) -> str:
    """A key, quoted where it has to be."""
    return name if _BARE.fullmatch(name) else encode(name)
