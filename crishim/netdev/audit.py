"""After a return: the device is read once more, and what is not as it was becomes a warning that names it."""

import msgspec

from crishim.linux import devconf, device_files, multicast
from crishim.linux.netlink import ethtool, link_attributes, links, neighbour_entries, nexthops, queueing
from crishim.netdev import programs, virtual_functions
from crishim.netdev.differences import differences
from crishim.netdev.records import Captured
from crishim.netdev.restoring import Restoring


def audit(place: Restoring, *, down: bool = False) -> list[str]:
    """One sentence for each difference, with the kernel's reason if it gave one. Raises OSError.

    down: it cannot be brought up, which is said elsewhere and has its consequences.
    """
    now = _again(place)
    if down:
        now = msgspec.structs.replace(now, nexthops=place.was.nexthops, groups=place.was.groups)
    return [_sentence(place, what) for what in differences(place.was, now)]


def _sentence(place: Restoring, what: str) -> str:
    why = place.refusals.get(what, "")
    if what.startswith("multicast group"):
        return f"{what} on {place.name} was left with the move: the program that had joined it has to join again"
    program = next((p for p in place.was.programs if str(p) == what), None)
    if program is not None and not why:
        why = "a bpf_link held it there, whose owner has to attach it again" if program.by_link else "it is gone"
    if what == "neighbour settings" and not why:
        why = "they differ"
    return f"{what} of {place.name} was not restored: {why or 'the kernel took it, and it differs'}"


def _again(place: Restoring) -> Captured:
    """The device now. What was nothing before, and dies with a stay in a namespace, is not read."""
    was, netlink, index = place.was, place.host.netlink, place.index
    link = links.get(netlink, index)
    if link is None:
        return was  # it has been taken away again: nothing to say about this return
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
        tunings=ethtool.read(place.host.genetlink, index, was.kind) if "tunings" in place.touched else was.tunings,
        files=_files(place) if "files" in place.touched else was.files,
        sysctls=devconf.read_files(place.name) if was.sysctls else (),
        programs=programs.read(link, was.queueing) if was.programs or "programs" in place.touched else (),
        entries=_entries(place) if was.entries or was.kind == "vxlan" else (),
        multicast=multicast.filters([index])[index] if was.multicast else (),
        groups=multicast.groups([place.name])[place.name] if was.groups else frozenset(),
        queueing=queueing.read(netlink, index) if was.queueing else (),
        nexthops=nexthops.dump(netlink, index) if was.nexthops else (),
        vf_settings=virtual_functions.read(place.host, place.name) if was.vf_settings else b"",
    )


def _files(place: Restoring) -> tuple[tuple[str, str], ...]:
    return tuple(device_files.read_again(place.host.sysfs, place.name, dict(place.was.files)).items())


def _entries(place: Restoring) -> tuple[neighbour_entries.Entry, ...]:
    entries = neighbour_entries.dump(place.host.netlink, place.index)
    return entries + neighbour_entries.dump_forwarding(place.host.netlink, place.index)
