"""Container Device Interface 1.1: devices by name, resolved to edits of an OCI spec."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec


class Edits(msgspec.Struct, frozen=True, kw_only=True):
    """The merged containerEdits of all devices asked for, in the shapes of the CDI specification."""

    env: tuple[str, ...] = ()
    device_nodes: tuple[dict[str, Any], ...] = ()
    mounts: tuple[dict[str, Any], ...] = ()
    hooks: tuple[dict[str, Any], ...] = ()
    gids: tuple[int, ...] = ()
    intel_rdt: dict[str, Any] | None = None
    net_devices: tuple[tuple[str, str, str], ...] = ()  # (host name, name in the pod or "", CDI device that asks)


def names(fields: Sequence[str], annotations: Mapping[str, str]) -> list[str]:
    """Qualified device names of a container: CDI_devices first, then cdi.k8s.io/ annotations, without duplicates.

    Raises INVALID for an annotation whose value is not a list of qualified names.
    """
    raise NotImplementedError


class Registry:
    """The devices of the specification directories; a later directory overrides an earlier one."""

    def __init__(self, directories: Sequence[Path]) -> None: ...

    def resolve(self, devices: Sequence[str]) -> Edits:
        """Edits for these qualified names, directories read anew (unchanged files from memory). Blocks.

        Raises NOT_FOUND for a name that no valid file defines (the text names a file that would, and why it is not
        valid), PRECONDITION for a conflict.
        """
        raise NotImplementedError


def apply(spec: dict[str, Any], edits: Edits) -> None:
    """Edit an OCI runtime spec in place; network devices are left to the caller. Raises PRECONDITION: a device node
    that does not exist on the host. Blocks (stat)."""
    raise NotImplementedError
