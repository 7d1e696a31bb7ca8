"""A device goes back to the host as it was, wherever it is and whatever happened to it.

One function for return, rollback and recovery, so that each of them may run after any of them: every step compares
before it acts. In the pod the device gets what needs it to be down or what must be right before it appears on the host
(MAC, MTU, names); on the host everything else. One move.

Only the move may fail as a whole. What the kernel refuses before or after it is a sentence among the problems, and the
next step follows: a host that gets its device back with the wrong queue length is better off than one that does not.
"""

import contextlib
import errno
from collections.abc import Callable
from typing import Any, NamedTuple

from crishim.netdev import carry, names
from crishim.netdev.identity import find_impostor, find_in_pod, find_on_host
from crishim.netdev.records import Attachment
from crishim.wire.linux import devconf, links, neighbours, routes
from crishim.wire.linux.addresses import Address, relabel
from crishim.wire.linux.links import IFF_UP, Link
from crishim.wire.linux.netns_thread import End


class Outcome(NamedTuple):
    """What became of a device. name: on the host; "" if it is LOST, and then reason says why.

    down: why it is back but cannot be brought up (a parent that is down, a MAC in use, broken hardware); "" if all is
    well.
    """

    name: str
    problems: tuple[str, ...] = ()
    reason: str = ""
    down: str = ""


class Problems(list[str]):
    """What could not be restored, one sentence each."""

    def attempt(self, what: str, step: Callable[..., object], *arguments: Any, **options: Any) -> OSError | None:
        """Take a step; the kernel's refusal becomes "what: why", and is returned."""
        try:
            step(*arguments, **options)
        except OSError as error:
            self.append(f"{what}: {error.strerror}")
            return error
        return None


def restore(attachment: Attachment, host: End, pod: End | None) -> Outcome:
    """Bring the device home. Raises OSError if it is in the pod and the kernel refuses to move it, EXHAUSTED if no
    name is left for it."""
    problems = Problems()
    link = find_in_pod(attachment, pod) if pod is not None and pod.inode != host.inode else None
    if pod is not None and link is not None:
        _mend(pod, link, attachment, problems)
        _move_home(pod, host, link, attachment, problems)
    link = find_on_host(attachment, host)
    if link is None:
        return Outcome("", tuple(problems), _where_it_is_not(attachment, pod))
    return _restore_on_host(host, link, attachment, problems)


def _where_it_is_not(attachment: Attachment, pod: End | None) -> str:
    if pod is None:
        return "it is neither on the host nor anywhere else: its pod's namespace is gone"
    said = "it is neither on the host nor in its pod"
    impostor = find_impostor(attachment, pod)
    if impostor is None:
        return said
    return f"{said}; {impostor.name} there carries its mark and is another device (a pod's swap): it stays"


def _mend(end: End, link: Link, attachment: Attachment, problems: Problems) -> None:
    """Undo what was changed of the link itself: MAC, MTU, queue length, group, alias; a pod's XDP program."""
    was = attachment.host
    if link.mac != was.mac:
        with contextlib.suppress(OSError):  # the change itself will say what is wrong
            links.set_flags(end.netlink, link.index, 0)  # many drivers refuse a new MAC while up
    for field in ("mac", "mtu", "queue_length", "group", "alias"):
        value = getattr(was, field)
        if getattr(link, field) == value:
            continue
        what = f"the {field.replace('_', ' ')} of {was.name} was not restored"
        problems.attempt(what, links.change, end.netlink, link.index, **{field: value})
    if link.xdp and not was.xdp:
        what = f"the XDP program its pod put on {was.name} was not taken off"
        problems.attempt(what, links.detach_xdp, end.netlink, link.index)


def _move_home(pod: End, host: End, link: Link, attachment: Attachment, problems: Problems) -> None:
    was = attachment.host
    for altname in link.altnames:
        if altname == attachment.altname or (altname in was.altnames and links.get(host.netlink, altname) is None):
            continue
        _remove_altname(pod, link, altname, problems)
    name = _free_name(attachment, host, 0, problems)
    index = was.index if links.get(host.netlink, was.index) is None else None
    for with_index in (index, None):
        try:
            links.move(pod.netlink, link.index, host.fd, name, up=False, new_index=with_index)
            return
        except OSError:
            if find_on_host(attachment, host) is not None:
                return  # moved, but its new name was taken in between: the host's part renames it
            if with_index is None:
                raise


def _remove_altname(end: End, link: Link, altname: str, problems: Problems) -> None:
    what = f"the alternative name {altname[:64]} was not taken off"
    problems.attempt(what, links.remove_altname, end.netlink, link.index, altname)


def _free_name(attachment: Attachment, host: End, own: int, problems: Problems) -> str:
    """Its old name, or the fallback if another link than `own` (an ifindex, 0: not there yet) has that by now."""

    def is_taken(name: str) -> bool:
        holder = links.get(host.netlink, name)
        return holder is not None and holder.index != own

    was = attachment.host.name
    if not is_taken(was):
        return was
    name = names.fallback(was, attachment.id, is_taken)
    problems.append(f"the name {was} is taken on the host: the device is back as {name}")
    return name


def _restore_on_host(host: End, link: Link, attachment: Attachment, problems: Problems) -> Outcome:
    """Name, settings, flags, addresses, routes, altnames; each only where it differs."""
    was = attachment.host
    host.enter()
    name = _rename(host, link, attachment, problems)
    _mend(host, link, attachment, problems)
    _restore_settings(host, link.index, name, attachment, problems)
    down = _restore_flags(host, link.index, name, was.flags, problems)
    wanted = [a if name == was.name else _relabelled(a, name) for a in was.addresses]

    def give_addresses() -> None:
        problems.extend(carry.make_equal(host.netlink, link.index, wanted, settle=True))

    problems.attempt(f"the addresses of {name} were not restored", give_addresses)
    if was.flags & IFF_UP and not down:
        _restore_routes(host, link.index, attachment, problems)
    for altname in was.altnames:
        if altname not in link.altnames:
            what = f"the alternative name {altname} was not restored"
            problems.attempt(what, links.add_altname, host.netlink, link.index, altname)
    if attachment.altname in link.altnames:
        _remove_altname(host, link, attachment.altname, problems)
    return Outcome(name, tuple(problems), down=down)


def _restore_flags(host: End, index: int, name: str, flags: int, problems: Problems) -> str:
    """Returns why the device cannot be brought up; "" if it is up, or is to be down."""
    rest = links.IFF_KEPT & ~IFF_UP
    problems.attempt(f"the flags of {name} were not restored", links.set_flags, host.netlink, index, flags, rest)
    what = f"{name} is back but cannot be brought {'up' if flags & IFF_UP else 'down'}"
    error = problems.attempt(what, links.set_flags, host.netlink, index, flags, IFF_UP)
    return str(error.strerror) if error and flags & IFF_UP else ""


def _relabelled(address: Address, name: str) -> Address:
    return relabel(address, lambda label: names.relabel(label, name))


def _rename(host: End, link: Link, attachment: Attachment, problems: Problems) -> str:
    was = attachment.host
    for altname in set(link.altnames) - set(was.altnames) - {attachment.altname}:
        _remove_altname(host, link, altname, problems)
    if link.name == was.name:
        return was.name
    said = Problems()
    name = _free_name(attachment, host, link.index, said)
    if link.name == name:
        return name  # the fallback, where the move has put it and said so
    problems += said
    if name in link.altnames:
        _remove_altname(host, link, name, problems)
    what = f"the device that was {was.name} is called {link.name} now: it was not renamed"
    return link.name if problems.attempt(what, links.change, host.netlink, link.index, name=name) else name


def _restore_settings(host: End, index: int, name: str, attachment: Attachment, problems: Problems) -> None:
    wanted = attachment.host.settings
    link = links.get(host.netlink, index)
    if link is None:
        return
    now = devconf.parse(link.settings)
    mode = wanted.gen_mode if wanted.gen_mode != now.gen_mode else None
    changes = devconf.ipv4_changes(now, wanted)
    problems.attempt(f"settings of {name} were not restored", links.set_settings, host.netlink, index, changes, mode)
    for ageing in attachment.host.ageing:
        what = f"neighbour settings of {name} were not restored"
        problems.attempt(what, neighbours.restore, host.netlink, index, ageing)
    for setting, value in devconf.ipv6_changes(now, wanted):
        what = f"net.ipv6.conf.{name}.{setting} was not restored"
        problems.attempt(what, devconf.write_ipv6, name, setting, value)


def _restore_routes(host: End, index: int, attachment: Attachment, problems: Problems) -> None:
    """Routes without a gateway first: the others are reached through them."""
    replaced = {attachment.host.index: index}
    for route in sorted(attachment.host.routes, key=lambda r: r.has_gateway):
        try:
            routes.add(host.netlink, route, replaced)
        except OSError as error:
            if error.errno != errno.EEXIST:
                what = "a route by a nexthop object" if route.uses_nexthop_object else f"a route in table {route.table}"
                problems.append(f"{what} over {attachment.host.name} was not restored: {error.strerror}")
