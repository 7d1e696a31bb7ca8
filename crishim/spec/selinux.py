"""SELinux: process and mount labels, and relabelling volumes. A malformed label fails on every host; all else does
nothing on a host without SELinux.

A label is user:role:type:level; the level is a sensitivity and categories, s0:c1,c2 or s0-s0:c0.c1023.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from crishim.errors import CrishimError, Kind
from crishim.linux import pod_paths
from crishim.pb import cri_pb2 as cri
from crishim.spec.inputs import Draft, Inputs, Spec, security_context
from crishim.spec.mounts import Prepared

# What container-selinux gives containers and the files they may write.
_USER: Final = "system_u"
_ROLE: Final = "system_r"
_TYPE: Final = "container_t"
_PRIVILEGED_TYPE: Final = "spc_t"
_FILE: Final = ("system_u", "object_r", "container_file_t")

_ATTRIBUTE: Final = "security.selinux"
_NEVER_RELABELLED: Final = frozenset(
    f"/{name}"
    for name in (
        "",
        "bin",
        "boot",
        "dev",
        "etc",
        "home",
        "lib",
        "lib64",
        "opt",
        "proc",
        "root",
        "run",
        "sbin",
        "srv",
        "sys",
        "tmp",
        "usr",
        "var",
        "var/lib",
        "var/log",
    )
)

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_SENSITIVITY = r"s(?:0|[1-9][0-9]{0,2})"
_CATEGORIES = r"c[0-9]{1,4}(?:[.,]c[0-9]{1,4})*"
_LEVEL = re.compile(rf"{_SENSITIVITY}(?:-{_SENSITIVITY})?(?::{_CATEGORIES})?")


def selinux(draft: Draft, inputs: Inputs) -> None:
    """process.selinuxLabel and linux.mountLabel; the container's options, else its pod's."""
    context = security_context(inputs)
    pod = inputs.pod.linux.security_context
    options = context.selinux_options if context.HasField("selinux_options") else pod.selinux_options
    check(options)
    if not inputs.host.selinux:
        return
    level = options.level or level_of(inputs.record.id)
    default_type = _PRIVILEGED_TYPE if context.privileged else _TYPE
    draft.spec["process"]["selinuxLabel"] = ":".join(
        [options.user or _USER, options.role or _ROLE, options.type or default_type, level]
    )
    draft.spec["linux"]["mountLabel"] = ":".join([*_FILE, level])


def check(options: cri.SELinuxOption) -> None:
    """INVALID unless each part that is given is well-formed."""
    for part in ("user", "role", "type"):
        value = getattr(options, part)
        if value and not _NAME.fullmatch(value):
            raise CrishimError(Kind.INVALID, f"{value!r} is no SELinux {part}", label=value)
    if options.level and not _LEVEL.fullmatch(options.level):
        raise CrishimError(Kind.INVALID, f"{options.level!r} is no SELinux level", label=options.level)


def level_of(pod_id: str) -> str:
    """Two categories derived from the pod's id, which other pods hardly have: s0:cLOW,cHIGH."""
    number = int.from_bytes(hashlib.sha256(pod_id.encode()).digest()[:8])
    one, other = number % 1024, number // 1024 % 1023
    low, high = sorted((one, other + 1 if other >= one else other))
    return f"s0:c{low},c{high}"


def relabel_volumes(spec: Spec, volumes: Iterable[Prepared]) -> None:
    """Label the sources of the mounts that ask for it with the spec's mountLabel; nothing without SELinux.

    Called before the container is created, in a thread. Errors as of relabel().
    """
    label = spec["linux"].get("mountLabel")
    for volume in volumes if label else ():
        if volume.request.selinux_relabel and not volume.image_id:
            relabel(volume.source, label)


def relabel(path: str, label: str) -> None:
    """Label a volume's files for the container (Mount.selinux_relabel), symlinks themselves and not their targets.

    Walks by descriptor, so that another container with the volume cannot redirect it outside. INVALID for a directory
    of the system, whose services would lose access; else OSError as of setxattr(2). Blocks: call it in a thread.
    """
    if path in _NEVER_RELABELLED:
        raise CrishimError(Kind.INVALID, f"{path} belongs to the node's system and is not relabelled", path=path)
    pod_paths.looking_at(path)
    value = label.encode() + b"\0"
    os.setxattr(path, _ATTRIBUTE, value, follow_symlinks=False)
    if not Path(path).is_dir():
        return
    for _, directories, files, descriptor in os.fwalk(path):
        for name in [*directories, *files]:
            with contextlib.suppress(FileNotFoundError):
                os.setxattr(f"/proc/self/fd/{descriptor}/{name}", _ATTRIBUTE, value, follow_symlinks=False)
