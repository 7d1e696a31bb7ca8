"""Capabilities: the base set, what the request adds and drops, and what the daemon holds. capabilities(7)."""

from collections.abc import Iterable

from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri
from crishim.spec.capability_names import CAPABILITIES
from crishim.spec.inputs import Draft, Inputs, security_context

_KNOWN = frozenset(CAPABILITIES)
_ALL = "CAP_ALL"


def process_capabilities(draft: Draft, inputs: Inputs) -> None:
    """process.capabilities.

    A privileged container gets all. In its own user namespace a process can have every capability
    (user_namespaces(7)); in the host's, only those the daemon holds.
    """
    context = security_context(inputs)
    available = _KNOWN if inputs.record.namespaces.user else inputs.host.capabilities
    sets = draft.spec["process"]["capabilities"]
    if context.privileged:
        wanted, ambient = set(available), set[str]()
    else:
        wanted, ambient = choose(sets["bounding"], context.capabilities, available)
    missing = wanted - available
    if missing:
        draft.notes.append(f"capabilities the daemon does not hold are left out: {', '.join(ordered(missing))}")
    draft.spec["process"]["capabilities"] = {
        "bounding": ordered(wanted & available),
        "effective": ordered(wanted & available),
        "permitted": ordered(wanted & available),
        "inheritable": ordered(ambient),
        "ambient": ordered(ambient),
    }


def choose(base: Iterable[str], request: cri.Capability, available: frozenset[str]) -> tuple[set[str], set[str]]:
    """(bounding set, ambient set) that a request asks for.

    ALL is applied first, on both sides, then the single names: "drop ALL, add CHOWN" leaves CHOWN, "add ALL, drop
    CHOWN" leaves the others, both ALL leave nothing. A capability added by name must be available: PRECONDITION.
    """
    add = {canonical(n) for n in request.add_capabilities}
    drop = {canonical(n) for n in request.drop_capabilities}
    ambient = {canonical(n) for n in request.add_ambient_capabilities}
    chosen = set(available) if _ALL in add else set(base)
    if _ALL in drop:
        chosen = set()
    if _ALL in ambient:
        ambient = set(chosen)
    named = (add | ambient) - {_ALL}
    chosen = (chosen | named) - drop
    _require(named & chosen, available)
    return chosen, ambient & chosen


def canonical(name: str) -> str:
    """ "net_admin", "NET_ADMIN" and "CAP_NET_ADMIN" are CAP_NET_ADMIN; ALL is CAP_ALL. INVALID: no such capability."""
    full = name.upper()
    full = full if full.startswith("CAP_") else f"CAP_{full}"
    if full not in _KNOWN and full != _ALL:
        raise CrishimError(Kind.INVALID, f"there is no capability {name!r}", capability=name)
    return full


def ordered(names: Iterable[str]) -> list[str]:
    """By capability number."""
    return sorted(names, key=CAPABILITIES.index)


def _require(named: set[str], available: frozenset[str]) -> None:
    missing = ordered(named - available)
    if missing:
        raise CrishimError(
            Kind.PRECONDITION,
            f"{', '.join(missing)} cannot be added: the daemon does not hold it itself",
            capability=missing[0],
        )
