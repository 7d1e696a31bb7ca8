"""Make lists fit into one gRPC message: the kubelet accepts 16 MiB, and its whole call fails beyond that.

The size of a pod's or container's config is limited at its creation (spec/checks.py): 500 fit without annotations. If
their annotations are too large together, the list leaves out the longest: the kubelet's own, which it reads from lists,
are short, and the status of one pod has them all. Labels are left out likewise, as earlier versions did not limit them.
"""

import logging
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from itertools import chain
from typing import Any, TypeVar

from google.protobuf.message import Message

from crishim.cri.server import MESSAGE_LIMIT

T = TypeVar("T", bound=Message)
ROOM = MESSAGE_LIMIT - (256 << 10)
LONGEST = (64 << 10, 16 << 10, 4 << 10, 1 << 10, 256, 0)  # bytes of an annotation, tried in this order
LABEL = 512  # bytes of a label; Kubernetes allows 380

log = logging.getLogger("crishim.rpc")
_warned: set[str] = set()


def fit(items: Sequence[T], what: str, described: Callable[[T], Iterable[Any]] = lambda item: (item,)) -> Sequence[T]:
    """The items, without their longest annotations if they do not fit otherwise; they are changed in place.

    what: names the list in a warning, logged once. described: the parts of an item with annotations and labels.
    """
    if _size(items) <= ROOM:
        return items
    if what not in _warned:
        _warned.add(what)
        log.warning("a list is too large for a message: it leaves out long annotations", extra={"list": what})
    for longest in LONGEST:
        for part in chain.from_iterable(map(described, items)):
            _drop(part.annotations, longest)
        if _size(items) <= ROOM:
            return items
    for part in chain.from_iterable(map(described, items)):
        _drop(part.labels, LABEL)
    return items


def _size(items: Sequence[Message]) -> int:
    return sum(item.ByteSize() + 8 for item in items)  # 8: the item's tag and length


def _drop(entries: MutableMapping[str, str], longest: int) -> None:
    for key in [k for k, v in entries.items() if len(k.encode()) + len(v.encode()) > longest]:
        del entries[key]
