"""Devices into the pod: our altname on them, the built-in move, and what both movers' results must be made into.

The built-in mover has the semantics of the OCI runtime specification (config-linux.md, "Network Devices"): move,
rename, UP in one message, permanent global addresses carried. verify() is the same after either mover, so that a
container sees the same whoever moved.
"""

import contextlib
import errno
import select
import socket
import time
from typing import NamedTuple

from crishim.errors import CrishimError, Kind
from crishim.linux import devconf
from crishim.linux.netlink import addresses, links
from crishim.linux.netlink.links import Link
from crishim.linux.netlink.rtnetlink import Rtnetlink
from crishim.linux.netns_thread import End
from crishim.netdev import address_sync
from crishim.netdev.identity import find_impostor, find_in_pod
from crishim.netdev.records import Attachment


class Verified(NamedTuple):
    """A device in its pod, as it was found or made."""

    ifindex: int
    addresses: tuple[str, ...]
    problems: tuple[str, ...]
    undecided: bool  # an address is not verified: detection runs, or failed


def mark(attachment: Attachment, host: End) -> None:
    """Put our altname on a host link, and take off an altname that is to be its name in the pod. Raises OSError."""
    if attachment.name in attachment.host.altnames:
        links.remove_altname(host.netlink, attachment.host.index, attachment.name)
    links.add_altname(host.netlink, attachment.host.index, attachment.altname)


def move(attachment: Attachment, host: End, pod: End) -> None:
    """Move one device into the pod, renamed and UP. Raises CrishimError; it may then be in the pod, misnamed."""
    try:
        links.move(host.netlink, attachment.host.index, pod.fd, attachment.name, up=True)
    except OSError as error:
        raise CrishimError(
            Kind.NOT_FOUND if error.errno == errno.ENODEV else Kind.PRECONDITION,
            f"device {attachment.device} could not be moved to pod {attachment.pod} "
            f"as {attachment.name}: {error.strerror}",
            device=attachment.device,
        ) from error


def locate(attachment: Attachment, pod: End) -> Link:
    """The device's link in the pod. Raises PRECONDITION if it is not there."""
    link = find_in_pod(attachment, pod)
    if link is None:
        raise CrishimError(
            Kind.PRECONDITION,
            f"device {attachment.device} is not in pod {attachment.pod}",
            device=attachment.device,
        )
    return link


def verify(attachment: Attachment, link: Link, pod: End, *, first: bool) -> Verified:
    """Check and repair a device in the pod, as it was located there: name, UP, MTU, MAC, addresses, accept_ra.

    first: its first container, when nobody but the mover has touched it; later only what is missing is put back.
    Raises PRECONDITION if it cannot be given its name, OSError if it is gone.
    """
    _repair_link(attachment, link, pod, first)
    wanted = address_sync.for_pod(attachment.host, attachment.name)
    problems = address_sync.make_equal(pod.netlink, link.index, wanted, prune=first)
    if first:
        problems += [
            f"{a} had failed duplicate address detection on the host" for a in wanted if address_sync.failed(a)
        ]
    present = addresses.dump(pod.netlink, link.index)
    return Verified(
        link.index,
        tuple(str(a) for a in present if a.scope == addresses.RT_SCOPE_UNIVERSE),
        tuple(problems),
        undecided=bool(address_sync.unverified(present, wanted)),
    )


def _repair_link(attachment: Attachment, link: Link, pod: End, first: bool) -> None:
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


def _refuse_advertisements(attachment: Attachment, link: Link, pod: End) -> None:
    """A device that took no router advertisements on the host takes none in the pod, whose default is to take them."""
    on_host = devconf.ipv6_value(attachment.host.settings, devconf.ACCEPT_RA)
    in_pod = devconf.ipv6_value(devconf.parse(link.settings), devconf.ACCEPT_RA)
    if on_host == 0 and in_pod:
        pod.enter()
        devconf.write_ipv6(attachment.name, devconf.ACCEPT_RA, 0)


def await_detection(attachments: list[Attachment], pod: End, timeout: float) -> dict[str, list[str]]:
    """Wait until no address of ours is under duplicate address detection; by attachment id, what did not pass.

    timeout: seconds for all together. A link without carrier is not waited for: its detection never ends.
    """
    deadline = time.monotonic() + timeout
    pod.enter()
    with Listener() as listener:
        while True:
            pending, problems = _detection(attachments, pod.netlink)
            left = deadline - time.monotonic()
            if not pending or left <= 0:
                return problems
            listener.wait(left)


def _detection(attachments: list[Attachment], netlink: Rtnetlink) -> tuple[bool, dict[str, list[str]]]:
    pending = False
    problems: dict[str, list[str]] = {}
    for attachment in attachments:
        link = links.get(netlink, attachment.index)
        if link is None:
            continue
        wanted = address_sync.for_pod(attachment.host, attachment.name)
        for address in address_sync.unverified(addresses.dump(netlink, link.index), wanted):
            if address_sync.failed(address):
                text = f"{address} is in use elsewhere on the link (duplicate address detection failed)"
            elif not link.has_carrier:
                text = f"{address} stays tentative: {attachment.name} has no carrier"
            else:
                pending = True
                text = f"{address} is still tentative: duplicate address detection has not ended"
            problems.setdefault(attachment.id, []).append(text)
    return pending, problems


class Listener:
    """Wakes when an IPv6 address of this thread's namespace changes (RTNLGRP_IPV6_IFADDR)."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0x100))  # 1 << (RTNLGRP_IPV6_IFADDR - 1)

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def wait(self, seconds: float) -> None:
        """Until something changed, at most a quarter of a second: a notification may have come before we listened."""
        if select.select([self._socket], [], [], min(seconds, 0.25))[0]:
            with contextlib.suppress(OSError):  # ENOBUFS: many changes are a change too
                self._socket.recv(1 << 16)
