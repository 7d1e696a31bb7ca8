"""Moves a device back to the host and restores it as captured, wherever it is and whatever happened to it.

Return, rollback and recovery all use it, in any order and repeatedly: every step compares before it acts. What must be
right before the device appears on the host (MAC, MTU, names) is set in the pod; everything else on the host.

Only the move may fail as a whole. What the kernel refuses before or after it becomes one of the problems, and the next
step follows: a device with the wrong queue length is better than none.
"""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

from crishim.linux.netlink import links
from crishim.linux.netlink.addresses import Address, aged, relabel
from crishim.linux.netlink.links import IFF_UP, Link
from crishim.linux.netns_thread import Netns
from crishim.netdev import address_sync, bpf_programs, names, restore_link, restore_network, virtual_functions
from crishim.netdev.audit import audit
from crishim.netdev.identity import find_impostor, find_in_pod, find_on_host
from crishim.netdev.records import Attachment
from crishim.netdev.restore_context import RestoreContext
from crishim.netdev.restore_settings import restore_settings

RENAMED = 3  # times in a row that the host's udev may rename a returned device


class ReturnOutcome(NamedTuple):
    """Result of a return. name: on the host; "" if it is LOST, and then reason says why.

    ifindex: on the host.
    down: why it is back but cannot be brought up (a parent that is down, a MAC in use, broken hardware); "" if all is
    well.
    """

    name: str
    problems: tuple[str, ...] = ()
    reason: str = ""
    down: str = ""
    ifindex: int = 0


class Problems(list[str]):
    """What could not be restored, one sentence each."""

    def attempt(self, what: str, step: Callable[..., object], *arguments: Any, **options: Any) -> OSError | None:
        """Call step; an OSError is appended as "what: why", and returned."""
        try:
            step(*arguments, **options)
        except OSError as error:
            self.append(f"{what}: {error.strerror}")
            return error
        return None


def move_to_host(attachment: Attachment, host: Netns, pod: Netns | None) -> Problems:
    """Move the device to the host if it is in the pod. Raises OSError if the kernel refuses, EXHAUSTED if no name is
    free for it."""
    problems = Problems()
    link = find_in_pod(attachment, pod) if pod is not None and pod.inode != host.inode else None
    if pod is not None and link is not None:
        _restore_in_pod(pod, link, attachment)
        _move_to_host(pod, host, link, attachment, problems)
    return problems


def restore(attachment: Attachment, host: Netns, pod: Netns | None, problems: Problems) -> ReturnOutcome:
    """Restore the device on the host as captured. pod: where it was looked for. problems: of its move."""
    for left in reversed(range(RENAMED)):
        link = find_on_host(attachment, host)
        if link is None:
            break
        outcome = _restore_on_host(host, link, attachment, Problems(problems))
        now = links.get(host.netlink, link.index)
        if now is None or now.name == outcome.name:
            return outcome
        if not left:
            said = f"the device that was {outcome.name} is called {now.name} now: it is renamed again and again"
            return outcome._replace(name=now.name, problems=(*outcome.problems, said))
    return ReturnOutcome("", tuple(problems), _why_lost(attachment, pod))


def _why_lost(attachment: Attachment, pod: Netns | None) -> str:
    if pod is None:
        return "it is neither on the host nor anywhere else: its pod's namespace is gone"
    said = "it is neither on the host nor in its pod"
    impostor = find_impostor(attachment, pod)
    if impostor is None:
        return said
    return f"{said}; {impostor.name} there carries its mark and is another device (a pod's swap): it stays"


def _restore_in_pod(pod: Netns, link: Link, attachment: Attachment) -> None:
    """Restore what must be right before the device appears on the host, where others see it: MAC, MTU. What is refused
    here is tried again, and reported, on the host."""
    context = RestoreContext(pod, link.index, link.name, attachment.host)
    restore_link.restore_fields(context, pod, link)


def _move_to_host(pod: Netns, host: Netns, link: Link, attachment: Attachment, problems: Problems) -> None:
    was = attachment.host
    for altname in link.altnames:
        if altname == attachment.altname or (altname in was.altnames and not links.index_of(host.netlink, altname)):
            continue
        _remove_altname(pod, link, altname, problems)
    name = _free_name(attachment, host, 0, problems)
    index = None if links.index_of(host.netlink, was.index) else was.index
    for with_index in (index, None):
        try:
            links.move(pod.netlink, link.index, host.fd, name, up=False, new_index=with_index)
            break
        except OSError:
            if find_on_host(attachment, host) is not None:
                break  # moved, but its new name was taken meanwhile: _restore_on_host renames it
            if with_index is None:
                raise
    _detach_programs(attachment, host)


def _detach_programs(attachment: Attachment, host: Netns) -> None:
    """Detach a pod's BPF programs at once, since the device may be brought up before it is restored (others are moved
    first). What is refused here is tried again, and reported, when it is restored."""
    link = find_on_host(attachment, host)
    if link is None:
        return
    host.enter()
    with contextlib.suppress(OSError):
        bpf_programs.detach_pod_programs(RestoreContext(host, link.index, link.name, attachment.host), link)


def _remove_altname(netns: Netns, link: Link, altname: str, problems: Problems) -> None:
    what = f"the alternative name {altname[:64]} was not taken off"
    problems.attempt(what, links.remove_altname, netns.netlink, link.index, altname)


def _free_name(attachment: Attachment, host: Netns, own: int, problems: Problems) -> str:
    """Its old name, or the fallback if a link other than `own` (its ifindex, 0: not there yet) has the old one."""
    was = attachment.host.name
    if not _is_taken(host, was, own):
        return was
    name = names.fallback(was, attachment.id, lambda name: _is_taken(host, name, own))
    problems.append(f"the name {was} is taken on the host: the device is back as {name}")
    return name


def _is_taken(host: Netns, name: str, own: int) -> bool:
    return links.index_of(host.netlink, name) not in (0, own)


def _restore_on_host(host: Netns, link: Link, attachment: Attachment, problems: Problems) -> ReturnOutcome:
    """Restore everything that differs; BPF programs first, so that a pod's see no packet here."""
    was = attachment.host
    host.enter()
    name = _rename(host, link, attachment, problems)
    context = RestoreContext(host, link.index, name, was)
    for what, step in (
        ("BPF programs", bpf_programs.restore),
        ("link", restore_link.restore_link),
        ("virtual function's settings", virtual_functions.restore),
        ("ethtool settings", restore_link.restore_tunings),
        ("files", restore_link.restore_files),
        ("settings", restore_settings),
    ):
        problems.attempt(f"the {what} of {name} were not restored", step, context, link)
    down = _restore_flags(host, link, name, was.flags, problems)
    if was.flags & IFF_UP and not down:
        problems.attempt(f"the state of {name} was not restored", restore_link.restore_condition, context)
    restore_link.restore_refused_files(context)
    problems.attempt(f"the addresses of {name} were not restored", _restore_addresses, context, problems)
    if was.flags & IFF_UP and not down:
        problems.attempt(f"the nexthops of {name} were not restored", restore_network.restore_nexthops, context)
        problems += restore_network.restore_routes(context)
    _restore_altnames(host, link, attachment, problems)  # before neighbours: without carrier it deletes proxied ones
    for what, later in (
        ("neighbours", restore_network.restore_entries),
        ("multicast filters", restore_network.restore_multicast),
        ("queueing disciplines", restore_network.restore_queueing),
    ):
        problems.attempt(f"the {what} of {name} were not restored", later, context)
    problems.attempt(f"{name} was not looked at again", lambda: problems.extend(audit(context, down=bool(down))))
    return ReturnOutcome(name, tuple(problems), down=down, ifindex=link.index)


def _restore_altnames(host: Netns, link: Link, attachment: Attachment, problems: Problems) -> None:
    for altname in attachment.host.altnames:
        if altname not in link.altnames:
            what = f"the alternative name {altname} was not restored"
            problems.attempt(what, links.add_altname, host.netlink, link.index, altname)
    if attachment.altname in link.altnames:
        _remove_altname(host, link, attachment.altname, problems)


def _restore_flags(host: Netns, link: Link, name: str, flags: int, problems: Problems) -> str:
    """Returns why the device cannot be brought up; "" if it is up, or is to be down."""
    rest = links.IFF_KEPT & ~IFF_UP
    if (link.flags ^ flags) & rest:
        problems.attempt(
            f"the flags of {name} were not restored", links.set_flags, host.netlink, link.index, flags, rest
        )
    what = f"{name} is back but cannot be brought {'up' if flags & IFF_UP else 'down'}"
    error = problems.attempt(what, links.set_flags, host.netlink, link.index, flags, IFF_UP)
    return str(error.strerror) if error and flags & IFF_UP else ""


def _restore_addresses(context: RestoreContext, problems: Problems) -> None:
    """Restore those whose lifetime has not ended meanwhile."""
    was = context.was
    left = [a for a in (aged(a, context.away) for a in was.addresses) if a is not None]
    wanted = [a if context.name == was.name else _relabelled(a, context.name) for a in left]
    problems += address_sync.make_equal(context.host.netlink, context.index, wanted, settle=True)


def _relabelled(address: Address, name: str) -> Address:
    return relabel(address, lambda label: names.relabel(label, name))


def _rename(host: Netns, link: Link, attachment: Attachment, problems: Problems) -> str:
    was = attachment.host
    for altname in set(link.altnames) - set(was.altnames) - {attachment.altname}:
        _remove_altname(host, link, altname, problems)
    if link.name == was.name:
        return was.name
    if not attachment.index and _is_taken(host, was.name, link.index):  # it was in no pod
        problems.append(f"{was.name} was renamed to {link.name} on the host, where {was.name} is another's name by now")
        return link.name
    said = Problems()
    name = _free_name(attachment, host, link.index, said)
    if link.name == name:
        return name  # the fallback, which the move has given and reported
    problems += said
    what = f"the device that was {was.name} is called {link.name} now: it was not renamed"
    return link.name if problems.attempt(what, links.change, host.netlink, link.index, name=name) else name
