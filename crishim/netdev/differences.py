"""Names the properties of a device that differ from what was captured, for warnings. Compares two records, no I/O.

Names, addresses and routes are compared where they are restored (restore.py, address_sync.py): they depend
on each other.
"""

from collections.abc import Iterator

from crishim.linux import devconf
from crishim.linux.netlink import link_attributes, queueing, vf_settings
from crishim.linux.netlink.links import IFF_UP
from crishim.linux.netlink.rtnetlink import table
from crishim.netdev.records import Captured

FIELDS = ("mac", "mtu", "queue_length", "group", "alias")


def differences(was: Captured, now: Captured) -> list[str]:
    """What differs, by the names that are the keys of RestoreContext.refusals."""
    if not was.complete:
        return list(_fields(was, now))
    found = [*_fields(was, now), *_attributes(was, now), *_settings(was, now), *_tables(was, now)]
    return list(dict.fromkeys(found))


def _fields(was: Captured, now: Captured) -> Iterator[str]:
    for field in FIELDS:
        if getattr(was, field) != getattr(now, field):
            yield field.replace("_", " ")
    if (was.flags ^ now.flags) & ~IFF_UP:
        yield "flags"


def _attributes(was: Captured, now: Captured) -> Iterator[str]:
    if now.attributes != was.attributes:
        yield from _link_attributes(was.attributes, now.attributes)
    tunings = {t.subject: t for t in now.tunings}
    for tuning in was.tunings:
        if tunings.get(tuning.subject) != tuning:
            yield f"ethtool {tuning.subject}"
    for kind, _ in vf_settings.changes(now.vf_settings, was.vf_settings):
        yield vf_settings.name(kind)
    files = dict(now.files)
    for path, value in was.files:
        if files.get(path, value) != value:  # a file without a value now does not count
            yield path


def _link_attributes(was: bytes, now: bytes) -> Iterator[str]:
    for kind, _ in link_attributes.changes(now, was):
        yield link_attributes.name(kind)
    if link_attributes.condition(now)[0] != link_attributes.condition(was)[0]:
        yield "operational state"
    own, changes = link_attributes.kind_changes(now, was)
    for kind, _ in changes:
        yield link_attributes.kind_name(own, kind)


def _settings(was: Captured, now: Captured) -> Iterator[str]:
    for kind, _ in devconf.ipv4_changes(now.settings, was.settings):
        yield f"net.ipv4.conf.{devconf.ipv4_name(kind)}"
    for setting, _ in devconf.ipv6_changes(now.settings, was.settings):
        yield f"net.ipv6.conf.{setting}"
    if was.settings.gen_mode != now.settings.gen_mode:
        yield "addrgenmode"
    if was.settings.token != now.settings.token:
        yield "IPv6 token"
    if now.ageing != was.ageing:
        yield from _ageing(was, now)
    sysctls = dict(now.sysctls)
    for pattern, value in was.sysctls:
        if sysctls.get(pattern) != value:
            yield devconf.file_name(pattern)


def _ageing(was: Captured, now: Captured) -> Iterator[str]:
    ageing = {a.table: table(a.attributes) for a in now.ageing}
    if any(ageing.get(a.table) != table(a.attributes) for a in was.ageing):
        yield "neighbour settings"


def _tables(was: Captured, now: Captured) -> Iterator[str]:
    there = {(p.hook, p.id) for p in now.programs}
    before = {(p.hook, p.id) for p in was.programs}
    yield from (str(p) for p in was.programs if (p.hook, p.id) not in there)
    yield from (f"{p.hook} program {p.id}" for p in now.programs if (p.hook, p.id) not in before)
    yield from (str(e) for e in was.entries if e not in now.entries)
    yield from (f"multicast filter {a.hex(':')}" for a in was.multicast if a not in now.multicast)
    yield from (f"multicast group {g}" for g in sorted(was.groups - now.groups))
    ids = {n.id for n in now.nexthops}
    yield from (f"nexthop {n.id}" for n in was.nexthops if n.id not in ids)
    yield from (str(n) for n in queueing.missing(now.queueing, was.queueing))
