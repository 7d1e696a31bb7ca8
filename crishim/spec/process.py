"""process.json of an exec: the container's own process with another command (runtime-spec, config.md, Process).

User, groups, environment, directory, capabilities, no_new_privs, AppArmor and SELinux are the container's. The runtime
applies the seccomp filter of the container's config.json.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from crishim.errors import CrishimError, Kind
from crishim.spec import command
from crishim.spec.inputs import Spec


def exec_process(spec: Spec, argv: Sequence[str], *, tty: bool) -> dict[str, Any]:
    """The process of an exec in the container made from spec (its config.json as it was given to the runtime)."""
    if not argv or not argv[0]:
        raise CrishimError(Kind.INVALID, "an exec needs a command")
    process = dict(spec["process"])
    process["args"] = [*command.launched(process["args"]), *argv]
    process["terminal"] = tty
    process.pop("consoleSize", None)
    if tty and not any(entry.startswith("TERM=") for entry in process.get("env") or ()):
        process["env"] = [*(process.get("env") or ()), "TERM=xterm"]
    return process


def encode(process: dict[str, Any]) -> bytes:
    """The bytes of process.json."""
    return msgspec.json.encode(process)
