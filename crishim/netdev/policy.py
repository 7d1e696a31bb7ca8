"""Whether a pod may have a device it asks for by annotation: the rules of `netdevices.allow`, and why not.

Checked before any other error about a device, so that a pod's author cannot find out which devices the host has or who
has them.
"""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from crishim.device_rules import PHYSICAL, Rule
from crishim.errors import CrishimError, Kind
from crishim.netdev.records import PodRef

SETTING = "netdevices.allow"


class Grant(NamedTuple):
    """A rule that gives a device, by its index in the setting."""

    rule: str  # "netdevices.allow[0]"
    namespaces: tuple[str, ...]  # patterns


class Policy:
    """The rules, in the order of the setting."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = tuple(rules)

    def replace(self, rules: Sequence[Rule]) -> None:
        """Replace the rules, while other threads may use them. Devices already given stay."""
        self._rules = tuple(rules)

    def grants(self, names: Sequence[str], kind: str) -> list[Grant]:
        """The rules that give a device of these names (name, altnames) and this kind ("": hardware) to some pod."""
        return [
            Grant(_place(i), tuple(r.namespaces)) for i, r in enumerate(self._rules) if r.names(names) and r.takes(kind)
        ]

    def check(self, device: str, pod: PodRef, names: Sequence[str], kind: str | None) -> None:
        """Raise DENIED, naming device, pod and rule, unless a rule gives the device to the pod's namespace.

        names, kind: of the device; if it is not there, of the name asked for, and None.
        """
        why = self._objection(pod.namespace, names, kind)
        if why:
            raise CrishimError(
                Kind.DENIED,
                f"pod {pod} may not take device {device} by annotation: {why}",
                device=device,
                pod=pod.id,
                namespace=pod.namespace,
            )

    def _objection(self, namespace: str, names: Sequence[str], kind: str | None) -> str:
        rules, nearest = self._rules, ""
        if not rules:
            return f"{SETTING} has no rules"
        for i, rule in enumerate(rules):
            if not rule.admits(namespace) or not rule.names(names):
                continue
            if kind is None or rule.takes(kind):
                return ""
            nearest = f"{_place(i)} is for kinds {', '.join(rule.kinds)}, and it is {kind or PHYSICAL}"
        return nearest or f"no rule of {SETTING} gives it to namespace {namespace or '(none)'}"


class Terms(NamedTuple):
    """What decides who may have which device: settings, and what other parts of the daemon know of host links."""

    policy: Policy  # each driver its own: reloaded settings replace its rules
    allow_node_device: bool = False
    node_addresses: frozenset[bytes] = frozenset()  # 4 or 16 bytes
    network_links: Callable[[], Collection[str]] = tuple  # names of links that the pods' CNI network is built on


def _place(index: int) -> str:
    return f"{SETTING}[{index}]"
