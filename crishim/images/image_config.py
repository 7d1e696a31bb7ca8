"""Parse the image configuration: the part about running a container. OCI image-spec 1.1, config.md.

The image's author wrote it, and pulling does not check it: types are checked here.
"""

from typing import Any

import msgspec

from crishim.decoding import NOT_JSON
from crishim.errors import CrishimError, Kind


class _Settings(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True):
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    working_dir: str | None = None
    user: str | None = None
    stop_signal: str | None = None


class _Image(msgspec.Struct, frozen=True, omit_defaults=True):
    config: _Settings | None = None


_decoder = msgspec.json.Decoder(_Image)


def parse(raw: bytes) -> dict[str, Any]:
    """The known keys, {"config": {"Env": [...], "User": ...}}. Raises INVALID for a wrong type or no JSON."""
    try:
        image = _decoder.decode(raw)
    except NOT_JSON as error:
        raise CrishimError(Kind.INVALID, f"the image's configuration cannot be used: {error}") from None
    made: dict[str, Any] = msgspec.to_builtins(image)
    return made


def user(raw: bytes) -> str:
    """Its user, without the group; "" for none, and for an unreadable configuration."""
    try:
        settings = parse(raw).get("config") or {}
    except CrishimError:
        return ""
    return str(settings.get("User") or "").partition(":")[0]
