"""Which pods may take which host devices by annotation: the rules of the setting `netdevices.allow`.

Annotations are set by a pod's author, who need not be privileged; CDI files and the runtime's socket are root's, so the
rules do not apply to them (docs/netdevices.md).
"""

import ipaddress
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec
from msgspec import Meta

PHYSICAL = "physical"  # kind of a link without IFLA_INFO_KIND: hardware
NAME_LIMIT = 127  # bytes of an altname: ALTIFNAMSIZ without the final NUL
NAMESPACE_LIMIT = 63  # of a Kubernetes namespace, a DNS label
STAYING = {"bridge", "bond", "team", "vrf", "openvswitch", "loopback"}  # not movable between namespaces

Patterns = Annotated[list[str], Meta(min_length=1)]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule: these devices are allowed for pods of these namespaces. Shell patterns: *, ?, [...]."""

    devices: Patterns  # a host link's name or one of its altnames
    namespaces: Patterns  # Kubernetes namespaces of pods
    kinds: list[str] = []  # as in `ip -d link`, "physical" for hardware; empty: any

    def names(self, names: Sequence[str]) -> bool:
        """Whether the rule covers a device with these names."""
        return any(fnmatchcase(name, pattern) for name in names for pattern in self.devices)

    def admits(self, namespace: str) -> bool:
        return any(fnmatchcase(namespace, pattern) for pattern in self.namespaces)

    def takes(self, kind: str) -> bool:
        """Whether the rule covers a link of this kind, "" for hardware."""
        return not self.kinds or (kind or PHYSICAL) in self.kinds


def problem(rule: Rule) -> str:
    """What is wrong with a rule: a pattern or kind that no device or namespace can match; "" if nothing."""
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
    """The IP addresses among texts, 4 or 16 bytes each, without the unspecified and loopback ones."""
    found = [ipaddress.ip_address(text) for text in texts if not check_address(text)]
    return frozenset(a.packed for a in found if not (a.is_unspecified or a.is_loopback))


def _unfit(pattern: str, limit: int) -> bool:
    """Whether a pattern is empty, too long for a name, unprintable, or has an unclosed bracket."""
    bare = re.sub(r"\[[^\]]+\]", "x", pattern).replace("*", "")
    return not pattern or len(bare.encode()) > limit or "[" in bare or any(c <= " " or c == "\x7f" for c in pattern)
