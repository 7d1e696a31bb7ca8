"""Queueing disciplines, classes and filters of a link, kept as the kernel wrote them. tc(8), linux/rtnetlink.h.

The kernel's own disciplines have the handle 0 and are made by it; everything with a handle was made by a user, and is
deleted when its link leaves the namespace.
"""

import struct
from collections.abc import Collection

import msgspec

from crishim.linux.netlink.attribute_shapes import Attribute
from crishim.linux.netlink.rtnetlink import (
    NLM_F_CREATE,
    NLM_F_ECHO,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Rtnetlink,
    attributes,
    join,
    table,
)

RTM_NEWQDISC, RTM_GETQDISC = 36, 38
RTM_NEWTCLASS, RTM_GETTCLASS = 40, 42
RTM_NEWTFILTER, RTM_GETTFILTER = 44, 46
TCA_KIND, TCA_OPTIONS, TCA_STATS, TCA_XSTATS, TCA_FCNT, TCA_STATS2 = 1, 2, 3, 4, 6, 7
TCA_CHAIN, TCA_HW_OFFLOAD, TCA_INGRESS_BLOCK, TCA_EGRESS_BLOCK = 11, 12, 13, 14
TCA_HTB_INIT, TCA_U32_PCNT = 2, 9
TCA_FLAGS = {"u32": 11, "bpf": 9, "flower": 22, "matchall": 3}  # TCA_U32_FLAGS, ...
TCA_ACT = {"u32": 7, "bpf": 1, "flower": 3, "matchall": 2}  # TCA_U32_ACT, ...
TCA_CLS_FLAGS_USER = 1 | 2 | 16  # SKIP_HW, SKIP_SW, VERBOSE
TC_H_ROOT, TC_H_INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
CLSACT_HOOKS = (0xFFFFFFF2, 0xFFFFFFF3)  # ingress, egress
WRITTEN = frozenset({TCA_KIND, TCA_OPTIONS, TCA_CHAIN, TCA_INGRESS_BLOCK, TCA_EGRESS_BLOCK, 8})  # 8: TCA_STAB

_HEAD = struct.Struct("=BxxxiIII")  # struct tcmsg: family, ifindex, handle, parent, info


class TcObject(msgspec.Struct, frozen=True, kw_only=True):
    """One discipline, class or filter. message: RTM_NEWQDISC, RTM_NEWTCLASS, RTM_NEWTFILTER."""

    message: int
    handle: int
    parent: int
    info: int  # filters: priority and protocol
    attributes: bytes  # TCA_* that can be written

    @property
    def kind(self) -> str:
        return table(self.attributes).get(TCA_KIND, b"").rstrip(b"\0").decode(errors="replace")

    def __str__(self) -> str:
        what = {RTM_NEWQDISC: "queueing discipline", RTM_NEWTCLASS: "class"}.get(self.message, "filter")
        minor = f"{self.handle & 0xFFFF:x}" if self.handle & 0xFFFF else ""
        return f"{what} {self.kind} {self.handle >> 16:x}:{minor}"


def _parse(message: int, body: bytes) -> TcObject:
    _, _, handle, parent, info = _HEAD.unpack_from(body)
    if message != RTM_NEWTFILTER:
        info = 0  # of a discipline: its reference count
    kept = join((kind, value) for kind, value in attributes(body[_HEAD.size :]) if kind in WRITTEN)
    return TcObject(message=message, handle=handle, parent=parent, info=info, attributes=kept)


def _one(netlink: Rtnetlink, index: int, parent: int) -> TcObject | None:
    try:
        answers = netlink.request(RTM_GETQDISC, _HEAD.pack(0, index, 0, parent, 0), NLM_F_ECHO)  # else no answer
    except OSError as error:
        if error.errno in (2, 22, 95):  # ENOENT, EINVAL, EOPNOTSUPP: none there, or the kernel has no such parent
            return None
        raise
    return _parse(RTM_NEWQDISC, answers[0].body) if answers else None


def read(netlink: Rtnetlink, index: int) -> tuple[TcObject, ...]:
    """What a user made, parents first, as add() takes it. Raises OSError.

    Two requests for a link that has only the kernel's own.
    """
    tops = [q for q in (_one(netlink, index, p) for p in (TC_H_ROOT, TC_H_INGRESS)) if q is not None and q.handle]
    if not tops:
        return ()
    disciplines = _dump(netlink, RTM_GETQDISC, RTM_NEWQDISC, index, 0)
    disciplines = [d for d in disciplines if d.handle]
    classes = _dump(netlink, RTM_GETTCLASS, RTM_NEWTCLASS, index, 0)
    parents = [d.handle for d in disciplines] + [c.handle for c in classes]
    if any(d.kind == "clsact" for d in disciplines):
        parents = [p for p in parents if p != 0xFFFF0000] + list(CLSACT_HOOKS)
    filters = [f for parent in parents for f in _dump(netlink, RTM_GETTFILTER, RTM_NEWTFILTER, index, parent)]
    return (*parents_first([*disciplines, *classes]), *(f for f in filters if f.handle))


def read_each(netlink: Rtnetlink, indexes: Collection[int]) -> dict[int, tuple[TcObject, ...]]:
    """read() of several links: one dump of all disciplines, then read() of links with some that a user made."""
    if len(indexes) == 1:
        return {index: read(netlink, index) for index in indexes}
    heads = [_HEAD.unpack_from(m.body) for m in netlink.dump(RTM_GETQDISC, bytes(_HEAD.size)) if m.type == RTM_NEWQDISC]
    made = {index for _, index, handle, _, _ in heads if handle}
    return {index: read(netlink, index) if index in made else () for index in indexes}


def _dump(netlink: Rtnetlink, get: int, new: int, index: int, parent: int) -> list[TcObject]:
    bodies = [m.body for m in netlink.dump(get, _HEAD.pack(0, index, 0, parent, 0)) if m.type == new]
    return [_parse(new, b) for b in bodies if _HEAD.unpack_from(b)[1] == index]


def parents_first(nodes: list[TcObject]) -> list[TcObject]:
    """Sort a discipline after its parent class, a class after its discipline and its parent class.

    One whose parent is missing comes after those whose parent is there, before its own children.
    """
    left, ordered, known = list(nodes), [], {TC_H_ROOT, TC_H_INGRESS}
    while left:
        ready = [n for n in left if n.parent in known and (n.message == RTM_NEWQDISC or _discipline(n) in known)]
        waiting = {n.handle for n in left}
        ready = ready or [n for n in left if n.parent not in waiting] or left
        ordered += ready
        known |= {n.handle for n in ready}
        left = [n for n in left if n not in ready]
    return ordered


def _discipline(node: TcObject) -> int:
    return node.handle & 0xFFFF0000


def essence(node: TcObject | None) -> object:
    """Key that is equal for two that are the same: counters among the options are left out."""
    if node is None:
        return None
    fields = table(node.attributes)
    options: object = fields.get(TCA_OPTIONS, b"")
    if node.kind == "htb" and node.message == RTM_NEWQDISC:
        options = {k: v[:16] if k == TCA_HTB_INIT else v for k, v in attributes(fields.get(TCA_OPTIONS, b""))}
    elif node.kind in TCA_ACT:
        inner = table(fields.get(TCA_OPTIONS, b""))
        counters = {TCA_U32_PCNT} if node.kind == "u32" else set()
        options = {k: _kinds(v) if k == TCA_ACT[node.kind] else v for k, v in inner.items() if k not in counters}
    rest = tuple((k, v) for k, v in fields.items() if k != TCA_OPTIONS)
    return (node.message, node.handle, node.parent, node.info, rest, options)


def _kinds(actions: bytes) -> tuple[bytes | None, ...]:
    """The kinds of a filter's actions; the rest contains indexes, ages and counters."""
    return tuple(table(action).get(TCA_KIND) for _, action in attributes(actions))


def missing(now: tuple[TcObject, ...], wanted: tuple[TcObject, ...]) -> list[TcObject]:
    """Those of wanted that are not there, or differ."""
    there = [essence(n) for n in now]
    return [n for n in wanted if essence(n) not in there]


def add(netlink: Rtnetlink, index: int, node: TcObject) -> None:
    """Make one as it was read; a root discipline replaces the kernel's own. Raises OSError."""
    how = NLM_F_CREATE | (NLM_F_REPLACE if node.message == RTM_NEWQDISC else NLM_F_EXCL)
    body = _HEAD.pack(0, index, node.handle, node.parent, node.info)
    netlink.request(node.message, body + _writable(node).attributes, how)


def program_of(node: TcObject) -> int:
    """The id of the BPF program that a filter runs, 0 if it runs none."""
    if node.message != RTM_NEWTFILTER or node.kind != "bpf":
        return 0
    options = table(table(node.attributes).get(TCA_OPTIONS, b""))
    return int(struct.unpack("=I", options[11])[0]) if 11 in options else 0  # TCA_BPF_ID


def with_program(node: TcObject, fd: int) -> TcObject:
    """The filter with a descriptor of its program, which the kernel takes instead of id and tag."""
    inner = table(table(node.attributes)[TCA_OPTIONS])
    options = [(6, struct.pack("=I", fd)), *((k, v) for k, v in inner.items() if k not in (10, 11))]  # FD; TAG, ID
    return _with_options(node, options)


def _with_options(node: TcObject, options: list[Attribute]) -> TcObject:
    items = [(k, join(options) if k == TCA_OPTIONS else v) for k, v in attributes(node.attributes)]
    return msgspec.structs.replace(node, attributes=join(items))


def _writable(node: TcObject) -> TcObject:
    """The object with options as the kernel takes them, where it returns them in another form."""
    options = list(attributes(table(node.attributes).get(TCA_OPTIONS, b"")))
    if node.kind == "htb" and node.message == RTM_NEWQDISC:  # returns a version of two parts, takes the first
        return _with_options(node, [(k, _shifted(v) if k == TCA_HTB_INIT else v) for k, v in options])
    flags = TCA_FLAGS.get(node.kind)
    if node.message == RTM_NEWTFILTER and flags is not None:
        return _with_options(node, [(k, _user_flags(v) if k == flags else v) for k, v in options])
    return node


def _shifted(glob: bytes) -> bytes:
    (version,) = struct.unpack_from("=I", glob)
    return struct.pack("=I", version >> 16) + glob[4:]


def _user_flags(value: bytes) -> bytes:
    """Without the flags that say whether hardware has the filter."""
    return struct.pack("=I", struct.unpack("=I", value)[0] & TCA_CLS_FLAGS_USER)
