"""Waits for duplicate address detection of a device's IPv6 addresses in its pod, and names those that did not pass."""

import contextlib
import select
import socket
import time

from crishim.linux.netlink import addresses, links
from crishim.linux.netlink.rtnetlink import Rtnetlink
from crishim.linux.netns_thread import Netns
from crishim.netdev import address_sync
from crishim.netdev.records import Attachment


def wait(attachments: list[Attachment], pod: Netns, timeout: float) -> dict[str, list[str]]:
    """Wait until no address of these devices is under detection. Returns what did not pass, by attachment id.

    timeout: seconds for all together. A link without carrier is not waited for: its detection never ends.
    """
    deadline = time.monotonic() + timeout
    pod.enter()
    with AddressListener() as listener:
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
            if address_sync.dad_failed(address):
                text = f"{address} is in use elsewhere on the link (duplicate address detection failed)"
            elif not link.has_carrier:
                text = f"{address} stays tentative: {attachment.name} has no carrier"
            else:
                pending = True
                text = f"{address} is still tentative: duplicate address detection has not ended"
            problems.setdefault(attachment.id, []).append(text)
    return pending, problems


class AddressListener:
    """Wakes when an IPv6 address of this thread's namespace changes (RTNLGRP_IPV6_IFADDR)."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0x100))  # 1 << (RTNLGRP_IPV6_IFADDR - 1)

    def __enter__(self) -> "AddressListener":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def wait(self, seconds: float) -> None:
        """Until an address changes, at most 0.25 s: one may have changed before the socket was bound."""
        if select.select([self._socket], [], [], min(seconds, 0.25))[0]:
            with contextlib.suppress(OSError):  # ENOBUFS: so many changes that some were dropped
                self._socket.recv(1 << 16)
