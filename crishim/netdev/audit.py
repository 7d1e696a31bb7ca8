"""After a return: reads the device again; each property that is not as captured becomes a warning."""

import msgspec

from crishim.linux import devconf, device_files, multicast
from crishim.linux.netlink import ethtool, link_attributes, links, neighbours, nexthops, queueing
from crishim.netdev import bpf_programs, virtual_functions
from crishim.netdev.differences import differences
from crishim.netdev.records import Captured
from crishim.netdev.restore_context import RestoreContext


def audit(context: RestoreContext, *, down: bool = False) -> list[str]:
    """One sentence for each difference, with the kernel's reason if it gave one. Raises OSError.

    down: it cannot be brought up, so that nexthops and multicast groups are not compared.
    """
    now = _read(context)
    if down:
        now = msgspec.structs.replace(now, nexthops=context.was.nexthops, groups=context.was.groups)
    return [_sentence(context, what) for what in differences(context.was, now)]


def _sentence(context: RestoreContext, what: str) -> str:
    why = context.refusals.get(what, "")
    if what.startswith("multicast group"):
        return f"{what} on {context.name} was left with the move: the program that had joined it has to join again"
    program = next((p for p in context.was.programs if str(p) == what), None)
    if program is not None and not why:
        why = "a bpf_link held it there, whose owner has to attach it again" if program.by_link else "it is gone"
    if what == "neighbour settings" and not why:
        why = "they differ"
    return f"{what} of {context.name} was not restored: {why or 'the kernel took it, and it differs'}"


def _read(context: RestoreContext) -> Captured:
    """The device now. What was empty before, and a move to another namespace clears, is not read."""
    was, netlink, index = context.was, context.host.netlink, context.index
    link = links.get(netlink, index)
    if link is None:
        return was  # removed meanwhile: nothing to compare
    return msgspec.structs.replace(
        was,
        mtu=link.mtu,
        mac=link.mac,
        flags=link.flags & links.IFF_KEPT if was.complete else was.flags,
        queue_length=link.queue_length,
        group=link.group,
        alias=link.alias,
        settings=devconf.parse(link.settings),
        attributes=link_attributes.keep(link.attributes),
        tunings=ethtool.read(context.host.genetlink, index, was.kind) if "tunings" in context.touched else was.tunings,
        files=_files(context) if "files" in context.touched else was.files,
        sysctls=devconf.read_files(context.name) if was.sysctls else (),
        programs=bpf_programs.read(link, was.queueing) if was.programs or "programs" in context.touched else (),
        entries=_entries(context) if was.entries or was.kind == "vxlan" else (),
        multicast=multicast.filters([index])[index] if was.multicast else (),
        groups=multicast.groups([context.name])[context.name] if was.groups else frozenset(),
        queueing=queueing.read(netlink, index) if was.queueing else (),
        nexthops=nexthops.dump(netlink, index) if was.nexthops else (),
        vf_settings=virtual_functions.read(context.host, context.name) if was.vf_settings else b"",
    )


def _files(context: RestoreContext) -> tuple[tuple[str, str], ...]:
    return tuple(device_files.read_again(context.host.sysfs, context.name, dict(context.was.files)).items())


def _entries(context: RestoreContext) -> tuple[neighbours.Neighbour, ...]:
    entries = neighbours.dump(context.host.netlink, context.index)
    return entries + neighbours.dump_forwarding(context.host.netlink, context.index)
