"""Restores the link itself on the host: its attributes, those of its kind, ethtool settings, sysfs files."""

import contextlib

from crishim.linux import device_files
from crishim.linux.netlink import ethtool, link_attributes, links
from crishim.linux.netlink.links import Link
from crishim.linux.netns_thread import Netns
from crishim.netdev import differences
from crishim.netdev.restore_context import RestoreContext


def restore_fields(context: RestoreContext, netns: Netns, link: Link) -> None:
    """Flags but UP, MAC, MTU, queue length, group, alias, where they differ; on the host or in the pod.

    A link that arrives on the host without MULTICAST joins no groups there, and not all of them later.
    """
    was = context.was
    kept = links.IFF_KEPT & ~links.IFF_UP
    if (link.flags ^ was.flags) & kept:
        with context.attempt("flags"):
            links.set_flags(netns.netlink, link.index, was.flags, kept)
    if link.mac != was.mac:
        with contextlib.suppress(OSError):  # the change itself reports what is wrong
            links.set_flags(netns.netlink, link.index, 0)  # many drivers refuse a new MAC while up
    for field in differences.FIELDS:
        value = getattr(was, field)
        if getattr(link, field) != value:
            with context.attempt(field.replace("_", " ")):
                links.change(netns.netlink, link.index, **{field: value})


def restore_link(context: RestoreContext, link: Link) -> None:
    """The fields above and all other attributes, on the host."""
    restore_fields(context, context.host, link)
    restore_attributes(context, link)


def restore_attributes(context: RestoreContext, link: Link) -> None:
    """All else in the link message, also what this code does not know: the kernel refuses what cannot be set."""
    netlink = context.host.netlink
    now = link_attributes.keep(link.attributes)
    if not context.was.complete or link_attributes.same_settings(now, context.was.attributes):
        return
    for change in sorted(link_attributes.changes(now, context.was.attributes), key=_reason_first):
        with context.attempt(link_attributes.name(change[0])):
            link_attributes.write(netlink, context.index, change)
    kind, changes = link_attributes.kind_changes(now, context.was.attributes)
    for change in changes:
        with context.attempt(link_attributes.kind_name(kind, change[0])):
            link_attributes.write_kind(netlink, context.index, kind, change)


def _reason_first(change: tuple[int, bytes]) -> tuple[bool, int]:
    return change[0] != link_attributes.IFLA_PROTO_DOWN_REASON, change[0]


def restore_condition(context: RestoreContext) -> None:
    """Undo a pod's changes of carrier and dormancy, on a device that is up: with them it would pass no traffic."""
    link = links.get(context.host.netlink, context.index)
    if link is None or not context.was.complete:
        return
    was_held, had_carrier = link_attributes.condition(context.was.attributes)
    held, has_carrier = link_attributes.condition(link.attributes)
    if had_carrier and not has_carrier:
        with contextlib.suppress(OSError):  # most kinds do not let it be set; theirs follows by itself
            link_attributes.set_carrier(context.host.netlink, context.index)
    if held != was_held:
        with context.attempt("operational state"):
            link_attributes.hold(context.host.netlink, context.index, was_held)


def restore_tunings(context: RestoreContext, link: Link) -> None:
    """ethtool's settings, channels first: changing them makes the queues' files anew."""
    if not context.was.tunings:
        return
    now = {t.subject: t for t in ethtool.read(context.host.genetlink, context.index, context.was.kind)}
    for tuning in context.was.tunings:
        if now.get(tuning.subject) != tuning:
            context.touched.add("tunings")
            with context.attempt(f"ethtool {tuning.subject}"):
                ethtool.write(context.host.genetlink, context.index, tuning, now.get(tuning.subject))


def restore_files(context: RestoreContext, link: Link) -> None:
    """The writable files below its directory in sysfs."""
    if not context.was.files:
        return
    now = device_files.read_again(context.host.sysfs, context.name, dict(context.was.files))
    _write_files(context, [(path, value) for path, value in context.was.files if now.get(path) != value])


def restore_refused_files(context: RestoreContext) -> None:
    """Write refused files again when the device is up: some drivers take them only then."""
    _write_files(context, [(path, value) for path, value in context.was.files if path in context.refusals])


def _write_files(context: RestoreContext, files: list[tuple[str, str]]) -> None:
    for path, value in files:
        context.touched.add("files")
        context.refusals.pop(path, None)
        with context.attempt(path):
            device_files.write(context.host.sysfs, context.name, path, value)
