"""Seccomp: chooses a profile, and resolves its conditions to the filter of one container.

A profile file may be the OCI spec's own linux.seccomp, or the format docker, containerd and the kubelet's users write:
the same with archMap, and includes/excludes (arches, caps, minKernel) on each rule. Both become linux.seccomp.
"""

import errno
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from crishim.decoding import NOT_JSON
from crishim.errors import CrishimError, Kind
from crishim.linux import files, pod_paths
from crishim.pb import cri_pb2 as cri
from crishim.spec import bundle
from crishim.spec.inputs import Draft, Inputs, security_context

_LARGEST = 1 << 20  # bytes of a profile

# uname -m -> the name profiles use in includes.arches
_ARCH = {
    "x86_64": "amd64",
    "i686": "x86",
    "aarch64": "arm64",
    "armv7l": "arm",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "loongarch64": "loong64",
}
_NATIVE = {
    "x86_64": "SCMP_ARCH_X86_64",
    "i686": "SCMP_ARCH_X86",
    "aarch64": "SCMP_ARCH_AARCH64",
    "armv7l": "SCMP_ARCH_ARM",
    "ppc64le": "SCMP_ARCH_PPC64LE",
    "s390x": "SCMP_ARCH_S390X",
    "riscv64": "SCMP_ARCH_RISCV64",
    "loongarch64": "SCMP_ARCH_LOONGARCH64",
}
_FILTER_KEYS = ("defaultAction", "defaultErrnoRet", "flags", "listenerPath", "listenerMetadata")
_RULE_KEYS = ("names", "action", "errnoRet", "args")


def seccomp(draft: Draft, inputs: Inputs) -> None:
    """linux.seccomp. Runs after the capabilities, whose bounding set decides which rules apply.

    Without a profile in the request it is unconfined; privileged ignores the profile.
    """
    context = security_context(inputs)
    kind, path = requested(context)
    if context.privileged or kind == cri.SecurityProfile.Unconfined:
        return
    if not inputs.host.seccomp or not _runtime_has_seccomp(inputs.features):
        raise CrishimError(Kind.PRECONDITION, "a seccomp profile is asked for, but this node cannot apply one")
    profile = load(path) if kind == cri.SecurityProfile.Localhost else bundle.seccomp_profile()
    caps = draft.spec["process"]["capabilities"]["bounding"]
    try:
        draft.spec["linux"]["seccomp"] = resolve(profile, inputs.host.machine, caps, inputs.host.kernel)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CrishimError(Kind.INVALID, f"the seccomp profile {path} is malformed: {error!r}", path=path) from error


def requested(context: cri.LinuxContainerSecurityContext) -> tuple[int, str]:
    """(kind of profile, file): the seccomp field if it is set, else the deprecated path ("" is unconfined)."""
    profile = cri.SecurityProfile
    if context.HasField("seccomp"):
        return context.seccomp.profile_type, context.seccomp.localhost_ref
    old = context.seccomp_profile_path
    if old in ("", "unconfined"):
        return profile.Unconfined, ""
    if old in ("runtime/default", "docker/default"):
        return profile.RuntimeDefault, ""
    if old.startswith("localhost/"):
        return profile.Localhost, old.removeprefix("localhost/")
    raise CrishimError(Kind.INVALID, f"{old!r} is no seccomp profile path", path=old)


def load(path: str) -> dict[str, Any]:
    """A profile file of the node. INVALID: no absolute path or not JSON; NOT_FOUND: no file that can be read."""
    if not path.startswith("/"):
        raise CrishimError(Kind.INVALID, f"the seccomp profile {path!r} must be an absolute path", path=path)
    try:
        pod_paths.looking_at(path)
        profile = msgspec.json.decode(files.read_regular(path, _LARGEST))
    except OSError as error:
        kind = Kind.INVALID if error.errno in (errno.EINVAL, errno.EFBIG) else Kind.NOT_FOUND
        raise CrishimError(kind, f"the seccomp profile {path} cannot be read: {error.strerror}", path=path) from error
    except NOT_JSON as error:
        raise CrishimError(Kind.INVALID, f"the seccomp profile {path} is not JSON: {error}", path=path) from error
    if not isinstance(profile, dict) or not isinstance(profile.get("defaultAction"), str):
        raise CrishimError(Kind.INVALID, f"the seccomp profile {path} has no defaultAction", path=path)
    return profile


def resolve(
    profile: Mapping[str, Any], machine: str, capabilities: Collection[str], kernel: tuple[int, int]
) -> dict[str, Any]:
    """linux.seccomp for this architecture, kernel and bounding set."""
    filter_: dict[str, Any] = {key: profile[key] for key in _FILTER_KEYS if key in profile}
    architectures = _architectures(profile, machine)
    if architectures:
        filter_["architectures"] = architectures
    rules = [
        {key: rule[key] for key in _RULE_KEYS if rule.get(key) not in (None, [])} | _old_name(rule)
        for rule in profile.get("syscalls") or []
        if _applies(rule, _ARCH.get(machine, machine), capabilities, kernel)
    ]
    if rules:
        filter_["syscalls"] = rules
    return filter_


def _old_name(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Profiles from before 2016 have one `name` a rule."""
    return {} if "names" in rule else {"names": [rule["name"]]}


def _architectures(profile: Mapping[str, Any], machine: str) -> list[str]:
    if profile.get("architectures"):
        return list(profile["architectures"])
    for entry in profile.get("archMap") or []:
        if entry["architecture"] == _NATIVE.get(machine):
            return [entry["architecture"], *(entry.get("subArchitectures") or [])]
    return []


def _applies(rule: Mapping[str, Any], arch: str, capabilities: Collection[str], kernel: tuple[int, int]) -> bool:
    """includes: each condition given must hold (arches: one of them; caps: all of them); excludes: none may."""
    need, bar = rule.get("includes") or {}, rule.get("excludes") or {}
    if need.get("arches") and arch not in need["arches"]:
        return False
    if any(cap not in capabilities for cap in need.get("caps") or []):
        return False
    if need.get("minKernel") and kernel < _version(need["minKernel"]):
        return False
    if arch in (bar.get("arches") or []) or any(cap in capabilities for cap in bar.get("caps") or []):
        return False
    return not (bar.get("minKernel") and kernel >= _version(bar["minKernel"]))


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def _runtime_has_seccomp(features: Mapping[str, Any] | None) -> bool:
    """linux.seccomp.enabled of the runtime's features; True if it is not there."""
    reported = ((features or {}).get("linux") or {}).get("seccomp") or {}
    return bool(reported.get("enabled", True))
