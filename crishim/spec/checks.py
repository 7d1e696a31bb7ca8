"""Checks that pods' and containers' requests share: names, sizes, ids, the user namespace's mode."""

from collections.abc import Iterable, Mapping

from crishim.pb import cri_pb2 as cri
from crishim.spec.accounts import MAX_ID

MAX_CONFIG = 4 << 20  # bytes; an object of Kubernetes has 1.5 MiB at most
MAX_ANNOTATIONS = 384 << 10  # bytes; Kubernetes allows 256 KiB, to which the kubelet adds its own
MAX_LABELS = (
    28 << 10
)  # bytes of labels and names: 500 pods or containers are one message of 16 MiB (cri/message_limit.py)
_NAME_MAX = 253  # what Kubernetes allows


def unusable_name(what: str, name: str) -> str | None:
    """What is wrong with a name of the metadata, which is used in file names and log lines."""
    if not name:
        return f"the metadata has no {what}"
    if len(name) > _NAME_MAX:
        return f"the {what} is longer than {_NAME_MAX} characters"
    bad = any(c in name for c in "/;") or not name.isprintable()  # CNI_ARGS are split at ";"
    return f"{name!r} is no usable {what}" if bad else None


def too_large(config: cri.PodSandboxConfig | cri.ContainerConfig, image: cri.ImageSpec | None = None) -> str | None:
    """What exceeds the size of a list response or a record."""
    size = config.ByteSize()
    if size > MAX_CONFIG:
        return f"the configuration has {size} bytes, at most {MAX_CONFIG} are taken"
    sizes = {
        "annotations": (_bytes(config.annotations), MAX_ANNOTATIONS),
        "labels": (_bytes(config.labels), MAX_LABELS),
    }
    if image is not None:
        sizes["labels and image"] = (_bytes(config.labels) + image.ByteSize(), MAX_LABELS)
    for what, (found, most) in sizes.items():
        if found > most:
            return f"the {what} have {found} bytes, at most {most} are taken"
    return None


def _bytes(entries: Mapping[str, str]) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in entries.items())


def user_namespace_mode(options: cri.NamespaceOption) -> str | None:
    known = options.userns_options.mode in (cri.POD, cri.NODE)
    return None if known else "a user namespace is POD or NODE; CONTAINER and TARGET are not possible"


def bad_id(ids: Iterable[int]) -> str | None:
    bad = [i for i in ids if not 0 <= i <= MAX_ID]
    return f"the user or group id {bad[0]} is not between 0 and {MAX_ID}" if bad else None
