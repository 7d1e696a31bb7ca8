"""Logs links that appear on the host, if they are hardware or `netdevices.allow` gives them to pods."""

import logging
from collections.abc import Iterable

from crishim.device_rules import PHYSICAL
from crishim.linux.netlink.links import IFF_LOOPBACK, Link
from crishim.netdev.policy import Policy

log = logging.getLogger("crishim.netdev")
MARK = "crishim-"  # prefix of records.Attachment.altname: a device that is being returned


class Arrivals:
    """The host's known links, by ifindex."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._there: set[int] | None = None

    def read(self, present: Iterable[Link]) -> None:
        """Take all links of the host. The first call logs nothing, later ones the links whose events were missed."""
        links = list(present)
        if self._there is None:
            self._there = {link.index for link in links}
            return
        self._there &= {link.index for link in links}
        for link in links:
            self.note(link)

    def note(self, link: Link) -> None:
        """Take a link that has changed or appeared."""
        if self._there is None or link.index in self._there:
            return
        self._there.add(link.index)
        if self._matters(link):
            rules = [grant.rule for grant in self._policy.grants(link.names, link.kind)]
            about = {"device": link.name, "kind": link.kind or PHYSICAL, "ifindex": link.index, "rules": rules}
            log.info("a network device has appeared on the host", extra=about)

    def gone(self, link: Link) -> None:
        """Take a link that was deleted or moved to another namespace."""
        if self._there is not None:
            self._there.discard(link.index)

    def _matters(self, link: Link) -> bool:
        if link.flags & IFF_LOOPBACK or any(name.startswith(MARK) for name in link.altnames):
            return False
        return not link.kind or bool(self._policy.grants(link.names, link.kind))
