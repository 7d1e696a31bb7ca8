"""ethtool(8) settings of a device: read and written back. linux/ethtool_netlink.h.

A subject's SET command takes the attribute numbers of its GET answer, so that what was read can be written. A device
without a subject answers EOPNOTSUPP.
"""

import errno
import functools
from typing import NamedTuple

import msgspec

from crishim.linux.netlink.genetlink import Genetlink
from crishim.linux.netlink.rtnetlink import NLA_F_NESTED, attribute, attributes, join, nested, table, u32

HEADER, HEADER_DEV_INDEX, HEADER_FLAGS = 1, 1, 3
COMPACT_BITSETS = 1
BITSET_NOMASK, BITSET_SIZE, BITSET_VALUE, BITSET_MASK = 1, 2, 4, 5
FEATURES_HW, FEATURES_WANTED, FEATURES_NOCHANGE = 2, 3, 5
LINKMODES_AUTONEG, LINKMODES_SPEED, LINKMODES_DUPLEX, LINKMODES_LANES = 2, 5, 6, 9
STACKED = frozenset({"macvlan", "macvtap", "ipvlan", "vlan", "vxlan", "bond", "team"})  # whose parents answer
_absent: dict[str, set[str]] = {}
ABSENT = frozenset({errno.EOPNOTSUPP, errno.ENODEV, errno.ENOENT, errno.EINVAL, errno.ENODATA, errno.ENETDOWN})


class Subject(NamedTuple):
    """One pair of commands. settable: the attributes a user can set; the others are state of the device."""

    get: int
    set: int
    settable: frozenset[int]
    nested: frozenset[int] = frozenset()  # those of them that need NLA_F_NESTED in a request: bitsets and the like


# Channels first: rings, coalescing and RSS are per channel.
SUBJECTS = {
    "channels": Subject(17, 18, frozenset(range(6, 10))),
    "features": Subject(11, 12, frozenset({FEATURES_WANTED}), frozenset({FEATURES_WANTED})),
    "rings": Subject(15, 16, frozenset({6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17})),
    "coalesce": Subject(19, 20, frozenset(range(2, 31)), frozenset({29, 30})),
    "pause": Subject(21, 22, frozenset({2, 3, 4})),
    "eee": Subject(23, 24, frozenset({2, 5, 6, 7}), frozenset({2})),
    "fec": Subject(29, 30, frozenset({2, 3}), frozenset({2})),
    "private flags": Subject(13, 14, frozenset({2}), frozenset({2})),
    "RSS": Subject(38, 48, frozenset({3, 4, 5, 6, 8}), frozenset({8})),
    "link modes": Subject(4, 5, frozenset({2, 3, 5, 6, 7, 9}), frozenset({3})),
    "link info": Subject(2, 3, frozenset({2, 3, 5})),
    "wake-on-LAN": Subject(9, 10, frozenset({2, 3}), frozenset({2})),
    "message level": Subject(7, 8, frozenset({2}), frozenset({2})),
    "module power": Subject(34, 35, frozenset({2})),
    "PLCA": Subject(39, 40, frozenset({3, 5, 6, 7, 8, 9})),
    "MAC merge": Subject(42, 43, frozenset({2, 3, 5, 7, 9})),
    "timestamping": Subject(46, 47, frozenset({2, 3, 4, 5}), frozenset({2, 3, 4, 5})),
}


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """One subject of a device as it was read. attributes: the settable ones of the answer."""

    subject: str  # a key of SUBJECTS
    attributes: bytes
    features: bytes = b""  # of "features": mask of those that can be changed


def _header(index: int) -> bytes:
    return nested(HEADER, u32(HEADER_DEV_INDEX, index), u32(HEADER_FLAGS, COMPACT_BITSETS))


def read(netlink: Genetlink, index: int, kind: str = "") -> tuple[Tuning, ...]:
    """All SUBJECTS that this device and kernel have. Raises OSError other than for a missing subject.

    kind: of the link; a subject that one link of a virtual kind lacks is not requested of that kind again.
    """
    absent = _absent.setdefault(kind, set())
    subjects = [name for name in SUBJECTS if name not in absent]
    try:
        answers = netlink.call_each("ethtool", [SUBJECTS[name].get for name in subjects], _header(index))
    except FileNotFoundError:
        return ()  # a kernel without it
    found = []
    for name, answer in zip(subjects, answers, strict=True):
        if isinstance(answer, OSError):
            if answer.errno not in ABSENT:
                raise answer
            if answer.errno == errno.EOPNOTSUPP and kind and kind not in STACKED:
                absent.add(name)
        elif tuning := _tuning(name, answer):
            found.append(tuning)
    return tuple(found)


@functools.lru_cache(maxsize=256)  # devices of a kind give the same answers
def _tuning(name: str, answer: bytes) -> Tuning | None:
    found = table(answer)
    kept = {kind: value for kind, value in found.items() if kind in SUBJECTS[name].settable}
    if name == "link modes" and kept.get(LINKMODES_AUTONEG) == b"\1":
        kept = {k: v for k, v in kept.items() if k not in (LINKMODES_SPEED, LINKMODES_DUPLEX, LINKMODES_LANES)}
    changeable = _changeable(found) if name == "features" else b""
    return Tuning(subject=name, attributes=join(kept.items()), features=changeable) if kept else None


def _changeable(found: dict[int, bytes]) -> bytes:
    hard = table(found.get(FEATURES_HW, b"")).get(BITSET_VALUE, b"")
    fixed = table(found.get(FEATURES_NOCHANGE, b"")).get(BITSET_VALUE, b"")
    return bytes(a & ~b & 0xFF for a, b in zip(hard, fixed, strict=False))


def write(netlink: Genetlink, index: int, wanted: Tuning, now: Tuning | None) -> None:
    """Set what differs of one subject. Raises OSError."""
    subject = SUBJECTS[wanted.subject]
    present = table(now.attributes) if now is not None else {}
    changes = [(k, v) for k, v in attributes(wanted.attributes) if present.get(k) != v]
    if wanted.subject == "features":
        changes = [(k, _masked(v, wanted.features)) for k, v in changes]
    elif wanted.subject == "link modes":  # speed and duplex are refused without the mode they go with
        changes = list(attributes(wanted.attributes)) if changes else []
    if changes:
        body = b"".join(attribute(k | (NLA_F_NESTED if k in subject.nested else 0), v) for k, v in changes)
        netlink.call("ethtool", subject.set, _header(index) + body)


def _masked(bitset: bytes, mask: bytes) -> bytes:
    """A bitset for a request that changes only the bits of the mask."""
    items = [(k, v) for k, v in attributes(bitset) if k not in (BITSET_MASK, BITSET_NOMASK)]
    values = [(k, bytes(a & b for a, b in zip(v, mask, strict=False)) if k == BITSET_VALUE else v) for k, v in items]
    return join([*values, (BITSET_MASK, mask)])
