"""A container's config.json: a list of small editors, each of which owns a few fields of the OCI runtime spec.

    base.json -> EDITORS, in order -> Built

An editor takes (draft, inputs), changes the draft, and raises CrishimError where the request cannot be carried out.
Blocks shortly (reads the image's passwd, stats devices): call it in a thread.
"""

import json
from dataclasses import dataclass
from typing import Any

import msgspec

from crishim import model
from crishim.spec.inputs import Draft, Editor, Host, Inputs, Spec, security_context
from crishim.spec.mounts import ImageVolume, Prepared, resolve

__all__ = ["Built", "Draft", "Editor", "Host", "ImageVolume", "Inputs", "Prepared", "Spec", "build", "encode", "resolve", "security_context"]


@dataclass(frozen=True)
class Built:
    """The spec and what was found out on the way."""

    spec: Spec  # config.json, still to be changed by CDI and NRI
    user: model.User
    notes: tuple[str, ...]  # for the log: what was bounded or left out, and why

    def encode(self) -> bytes:
        """The bytes of config.json."""
        return encode(self.spec)


def encode(document: Any) -> bytes:
    """JSON for a runtime. A string that came from bytes that are not UTF-8 (surrogateescape) goes out as those bytes."""
    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError:
        return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogateescape")


EDITORS: tuple[Editor, ...] = ()


def build(inputs: Inputs) -> Built:
    """Make the complete spec of a container.

    Raises CrishimError: INVALID (the request can never work), NOT_FOUND (user, group, device), PRECONDITION (this
    host or this pod cannot do it).
    """
    raise NotImplementedError
