"""What pods' and containers' requests have in common to be checked: names, ids, the user namespace's mode."""

from collections.abc import Iterable

from crishim.pb import cri_pb2 as cri
from crishim.spec.accounts import MAX_ID

_NAME_MAX = 253  # what Kubernetes allows


def unusable_name(what: str, name: str) -> str | None:
    """What is wrong with a name of the metadata; it ends up in file names and log lines."""
    if not name:
        return f"the metadata has no {what}"
    if len(name) > _NAME_MAX:
        return f"the {what} is longer than {_NAME_MAX} characters"
    bad = any(c in name for c in "/;") or not name.isprintable()  # CNI_ARGS are split at ";"
    return f"{name!r} is no usable {what}" if bad else None


def user_namespace_mode(options: cri.NamespaceOption) -> str | None:
    known = options.userns_options.mode in (cri.POD, cri.NODE)
    return None if known else "a user namespace is POD or NODE; CONTAINER and TARGET are not possible"


def bad_id(ids: Iterable[int]) -> str | None:
    bad = [i for i in ids if not 0 <= i <= MAX_ID]
    return f"the user or group id {bad[0]} is not between 0 and {MAX_ID}" if bad else None
