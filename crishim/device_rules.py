"""Which pods may take which host devices by annotation: the rules of the setting `netdevices.allow`.

A pod's annotations are its author's, who may know of the node no more than a name; CDI files and the runtime's socket
are root's, and no rule is asked about them (docs/netdevices.md).
"""

import ipaddress
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec
from msgspec import Meta

PHYSICAL = "physical"  # as a kind: a link the kernel names no kind for, which is hardware
NAME_LIMIT = 127  # bytes of an altname: ALTIFNAMSIZ without the final NUL
NAMESPACE_LIMIT = 63  # of a Kubernetes namespace, a DNS label
STAYING = {"bridge", "bond", "team", "vrf", "openvswitch", "loopback"}  # the kernel does not move them

Patterns = Annotated[list[str], Meta(min_length=1)]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule: these devices, to pods of these namespaces. Patterns are a shell's: *, ?, [...]."""

    devices: Patterns  # a host link's name or one of its altnames
    namespaces: Patterns  # Kubernetes namespaces of pods
    kinds: list[str] = []  # as `ip -d link` calls them, "physical" for hardware; none given: any

    def names(self, names: Sequence[str]) -> bool:
        """Whether a device of these names is meant."""
        return any(fnmatchcase(name, pattern) for name in names for pattern in self.devices)

    def admits(self, namespace: str) -> bool:
        return any(fnmatchcase(namespace, pattern) for pattern in self.namespaces)

    def takes(self, kind: str) -> bool:
        """Whether a link of this kind is meant, "" for hardware."""
        return not self.kinds or (kind or PHYSICAL) in self.kinds


def problem(rule: Rule) -> str:
    """What is wrong with a rule, "" if nothing: a pattern or kind that no device or namespace can have."""
    for pattern in rule.devices:
        if _unfit(pattern, NAME_LIMIT) or any(c in "/:" for c in pattern):
            return f"devices: no interface can be called {pattern!r}"
    for pattern in rule.namespaces:
        if _unfit(pattern, NAMESPACE_LIMIT) or not re.fullmatch(r"[a-zA-Z0-9._!*?\[\]-]+", pattern):
            return f"namespaces: no namespace can be called {pattern!r}"
    for kind in rule.kinds:
        if not re.fullmatch(r"[a-z0-9_-]+", kind):
            return f"kinds: {kind!r} is no kind of link"
        if kind in STAYING:
            return f"kinds: a {kind} cannot leave the host"
    return ""


def check_address(text: str) -> str:
    """What is wrong with an IP address, "" if nothing."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return f"{text!r} is no IP address"
    return ""


def node_addresses(texts: Sequence[str]) -> frozenset[bytes]:
    """The addresses that a link can have, 4 or 16 bytes each: not 0.0.0.0, nor a loopback one, nor a name."""
    found = [ipaddress.ip_address(text) for text in texts if not check_address(text)]
    return frozenset(a.packed for a in found if not (a.is_unspecified or a.is_loopback))


def _unfit(pattern: str, limit: int) -> bool:
    """Empty, too long for a name, unprintable, or with a bracket that is never closed."""
    bare = re.sub(r"\[[^\]]+\]", "x", pattern).replace("*", "")
    return not pattern or len(bare.encode()) > limit or "[" in bare or any(c <= " " or c == "\x7f" for c in pattern)
