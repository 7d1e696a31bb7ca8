"""What a pod can change of the device itself, put back on the host: attributes, its kind's, ethtool's, sysfs files."""

import contextlib

from crishim.linux import device_files
from crishim.linux.netlink import ethtool, link_attributes, links
from crishim.linux.netlink.links import Link
from crishim.linux.netns_thread import End
from crishim.netdev import differences
from crishim.netdev.restoring import Restoring


def restore_fields(place: Restoring, end: End, link: Link) -> None:
    """Flags but UP, MAC, MTU, queue length, group, alias, where they differ; at either end.

    A link that comes to the host without MULTICAST joins no groups there, and later not all.
    """
    was = place.was
    kept = links.IFF_KEPT & ~links.IFF_UP
    if (link.flags ^ was.flags) & kept:
        with place.attempt("flags"):
            links.set_flags(end.netlink, link.index, was.flags, kept)
    if link.mac != was.mac:
        with contextlib.suppress(OSError):  # the change itself will say what is wrong
            links.set_flags(end.netlink, link.index, 0)  # many drivers refuse a new MAC while up
    for field in differences.FIELDS:
        value = getattr(was, field)
        if getattr(link, field) != value:
            with place.attempt(field.replace("_", " ")):
                links.change(end.netlink, link.index, **{field: value})


def restore_link(place: Restoring, link: Link) -> None:
    """The fields above and all other attributes, on the host."""
    restore_fields(place, place.host, link)
    restore_attributes(place, link)


def restore_attributes(place: Restoring, link: Link) -> None:
    """Everything else of the link message, what this code does not know included: the kernel says what can be set."""
    netlink = place.host.netlink
    now = link_attributes.keep(link.attributes)
    if not place.was.complete or link_attributes.same_settings(now, place.was.attributes):
        return
    for change in sorted(link_attributes.changes(now, place.was.attributes), key=_reason_first):
        with place.attempt(link_attributes.name(change[0])):
            link_attributes.write(netlink, place.index, change)
    kind, changes = link_attributes.kind_changes(now, place.was.attributes)
    for change in changes:
        with place.attempt(link_attributes.kind_name(kind, change[0])):
            link_attributes.write_kind(netlink, place.index, kind, change)


def _reason_first(change: tuple[int, bytes]) -> tuple[bool, int]:
    return change[0] != link_attributes.IFLA_PROTO_DOWN_REASON, change[0]


def restore_condition(place: Restoring) -> None:
    """Carrier and dormancy that a pod set, on a device that is up: without them it would be up in name only."""
    link = links.get(place.host.netlink, place.index)
    if link is None or not place.was.complete:
        return
    was_held, had_carrier = link_attributes.condition(place.was.attributes)
    held, has_carrier = link_attributes.condition(link.attributes)
    if had_carrier and not has_carrier:
        with contextlib.suppress(OSError):  # of most kinds nobody can say it; and it comes in its own time
            link_attributes.set_carrier(place.host.netlink, place.index)
    if held != was_held:
        with place.attempt("operational state"):
            link_attributes.hold(place.host.netlink, place.index, was_held)


def restore_tunings(place: Restoring, link: Link) -> None:
    """What ethtool sets. Channels come first: the queues' files are made anew with them."""
    if not place.was.tunings:
        return
    now = {t.subject: t for t in ethtool.read(place.host.genetlink, place.index, place.was.kind)}
    for tuning in place.was.tunings:
        if now.get(tuning.subject) != tuning:
            place.touched.add("tunings")
            with place.attempt(f"ethtool {tuning.subject}"):
                ethtool.write(place.host.genetlink, place.index, tuning, now.get(tuning.subject))


def restore_files(place: Restoring, link: Link) -> None:
    """The writable files below its directory in sysfs."""
    if not place.was.files:
        return
    now = device_files.read_again(place.host.sysfs, place.name, dict(place.was.files))
    _write_files(place, [(path, value) for path, value in place.was.files if now.get(path) != value])


def restore_refused_files(place: Restoring) -> None:
    """Once more, on a device that is up: some drivers have what they are about only then."""
    _write_files(place, [(path, value) for path, value in place.was.files if path in place.refusals])


def _write_files(place: Restoring, files: list[tuple[str, str]]) -> None:
    for path, value in files:
        place.touched.add("files")
        place.refusals.pop(path, None)
        with place.attempt(path):
            device_files.write(place.host.sysfs, place.name, path, value)
