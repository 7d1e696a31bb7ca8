"""Registry credentials: from a PullImage request, written to an auth file for skopeo (containers-auth.json(5)).

The file has mode 0600, is in a private directory below the run directory and is deleted when the pull ends. The entry's
key is the image's repository: it has precedence over all entries of the node's auth file, and is never sent to a
mirror. Secrets must not be logged: the repr of Credentials has none.
"""

import base64
import binascii
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crishim.errors import CrishimError, Kind
from crishim.images.reference import Reference


@dataclass(frozen=True)
class Credentials:
    """Credentials for one registry. Empty: anonymous, or those in the node's auth file."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return bool(self.username or self.password or self.identity_token)

    def fingerprint(self) -> str:
        """A hash, equal for equal credentials; "" for empty ones."""
        text = json.dumps([self.username, self.password, self.identity_token])
        return hashlib.sha256(text.encode()).hexdigest() if self else ""


ANONYMOUS = Credentials()


def decode(username: str, password: str, auth: str, identity_token: str, registry_token: str) -> Credentials:
    """The fields of cri.AuthConfig as credentials; auth is base64 of "user:password", for an empty username.

    Raises INVALID for another auth; UNIMPLEMENTED for a registry_token alone, which skopeo accepts only on its command
    line, where every process of the node could read it.
    """
    if identity_token:
        return Credentials(username=username, identity_token=identity_token)
    if username:
        return Credentials(username=username, password=password)
    if auth:
        return _decode_basic(auth)
    if registry_token:
        raise CrishimError(
            Kind.UNIMPLEMENTED,
            "a registry_token cannot be passed on safely: use identity_token, or username and password",
        )
    return ANONYMOUS


def _decode_basic(auth: str) -> Credentials:
    try:
        text = base64.b64decode(auth, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise CrishimError(Kind.INVALID, "the auth field of the registry credentials is no base64 text") from None
    username, colon, password = text.partition(":")
    if not colon:
        raise CrishimError(Kind.INVALID, "the auth field of the registry credentials holds no user:password pair")
    return Credentials(username=username, password=password.strip("\x00"))


def auth_file(credentials: Credentials, reference: Reference, node: dict[str, Any]) -> bytes:
    """The content of an auth file: the node's own, with an entry for the reference's repository."""
    pair = f"{credentials.username}:{credentials.password}"
    entry = {"auth": base64.b64encode(pair.encode()).decode()}
    if credentials.identity_token:
        entry["identitytoken"] = credentials.identity_token
    auths = node.get("auths")
    merged = {**(auths if isinstance(auths, dict) else {}), reference.repository: entry}
    return json.dumps({**node, "auths": merged}).encode()


def write_secret(path: Path, content: bytes) -> None:
    """Create a file of mode 0600. Blocks for microseconds: the run directory is a tmpfs."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
