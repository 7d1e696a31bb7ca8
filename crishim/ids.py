"""Ids of pods and containers: 64 lower-case hex digits, as in other CRI runtimes; tools shorten them."""

import re
import secrets

_ID = re.compile(r"[0-9a-f]{64}")


def new_id() -> str:
    """A new random id."""
    return secrets.token_hex(32)


def is_id(text: str) -> bool:
    """Whether text has the form of an id, and so is safe as a file name."""
    return _ID.fullmatch(text) is not None


def is_prefix(text: str) -> bool:
    """Whether text may be an id's prefix: crictl shows 13 digits and people type fewer."""
    return 0 < len(text) <= 64 and all(c in "0123456789abcdef" for c in text)
