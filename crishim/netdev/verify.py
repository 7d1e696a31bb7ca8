"""Checks and repairs a device in its pod, the same after either mover: name, UP, permanent global addresses."""

from typing import NamedTuple

from crishim.errors import CrishimError, Kind
from crishim.linux import devconf
from crishim.linux.netlink import addresses, links
from crishim.linux.netlink.links import Link
from crishim.linux.netns_thread import Netns
from crishim.netdev import address_sync
from crishim.netdev.identity import find_impostor, find_in_pod
from crishim.netdev.records import Attachment


class Verified(NamedTuple):
    """A device in its pod after the repair."""

    ifindex: int
    addresses: tuple[str, ...]
    problems: tuple[str, ...]
    undecided: bool  # an address is not verified: detection runs, or failed


def locate(attachment: Attachment, pod: Netns) -> Link:
    """The device's link in the pod. Raises PRECONDITION if it is not there."""
    link = find_in_pod(attachment, pod)
    if link is None:
        raise CrishimError(
            Kind.PRECONDITION,
            f"device {attachment.device} is not in pod {attachment.pod}",
            device=attachment.device,
        )
    return link


def verify(attachment: Attachment, link: Link, pod: Netns, *, first: bool) -> Verified:
    """Check and repair a device in the pod, as it was located there: name, UP, MTU, MAC, addresses, accept_ra.

    first: for its first container, when only the mover has touched it; later only what is missing is added.
    Raises PRECONDITION if it cannot be given its name, OSError if it is gone.
    """
    _repair_link(attachment, link, pod, first)
    wanted = address_sync.for_pod(attachment.host, attachment.name)
    problems = address_sync.make_equal(pod.netlink, link.index, wanted, prune=first)
    if first:
        problems += [
            f"{a} had failed duplicate address detection on the host" for a in wanted if address_sync.dad_failed(a)
        ]
    present = addresses.dump(pod.netlink, link.index)
    return Verified(
        link.index,
        tuple(str(a) for a in present if a.scope == addresses.RT_SCOPE_UNIVERSE),
        tuple(problems),
        undecided=bool(address_sync.unverified(present, wanted)),
    )


def _repair_link(attachment: Attachment, link: Link, pod: Netns, first: bool) -> None:
    if link.name != attachment.name:
        try:
            links.change(pod.netlink, link.index, name=attachment.name)
        except OSError as error:
            raise CrishimError(
                Kind.PRECONDITION,
                f"device {attachment.device} in pod {attachment.pod} is called {link.name} and cannot be called "
                f"{attachment.name} again: {error.strerror}",
                device=attachment.device,
            ) from error
    if first:
        was = attachment.host
        changes = {
            field: getattr(was, field) for field in ("mac", "mtu") if getattr(link, field) != getattr(was, field)
        }
        links.change(pod.netlink, link.index, **changes)
    if not link.is_up:
        links.set_flags(pod.netlink, link.index, links.IFF_UP)
    if attachment.altname not in link.altnames:
        impostor = find_impostor(attachment, pod)
        if impostor is not None:
            links.remove_altname(pod.netlink, impostor.index, attachment.altname)
        links.add_altname(pod.netlink, link.index, attachment.altname)
    if first:
        _refuse_advertisements(attachment, link, pod)


def _refuse_advertisements(attachment: Attachment, link: Link, pod: Netns) -> None:
    """A device that took no router advertisements on the host takes none in the pod, whose default is to take them."""
    on_host = devconf.ipv6_value(attachment.host.settings, devconf.ACCEPT_RA)
    in_pod = devconf.ipv6_value(devconf.parse(link.settings), devconf.ACCEPT_RA)
    if on_host == 0 and in_pod:
        pod.enter()
        devconf.write_ipv6(attachment.name, devconf.ACCEPT_RA, 0)
