"""Lists that fit into one message: the kubelet takes 16 MiB, and fails as a whole on one byte more.

What a pod or container may bring is bounded when it is made (spec/checks.py): 500 fit without their annotations. Where
the annotations of all together are too much, the list leaves out the longest: the kubelet's own, which it reads from
lists, are short, and the status of one pod has them all. The same goes for records of an earlier version, whose labels
were not bounded.
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
_said: set[str] = set()


def fit(items: Sequence[T], what: str, described: Callable[[T], Iterable[Any]] = lambda item: (item,)) -> Sequence[T]:
    """The items, without their longest annotations if they would not fit otherwise; they are changed in place.

    what: for the log, which says it once. described: the parts of an item that have annotations and labels.
    """
    if _size(items) <= ROOM:
        return items
    if what not in _said:
        _said.add(what)
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
    return sum(item.ByteSize() + 8 for item in items)  # and each one's tag and length


def _drop(entries: MutableMapping[str, str], longest: int) -> None:
    for key in [k for k, v in entries.items() if len(k.encode()) + len(v.encode()) > longest]:
        del entries[key]
