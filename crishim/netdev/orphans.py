"""Finds and returns devices that are neither attached nor restored: LOST, DOWN, or back on the host without us.

Called when their pod is stopped or removed, when they are requested again, and by watch.py.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from crishim.linux.netlink import links
from crishim.linux.netlink.links import Link
from crishim.linux.netns_thread import Netns
from crishim.netdev.identity import find_on_host, is_device, is_hardware, looks_like
from crishim.netdev.journal import Journal
from crishim.netdev.netns_executor import NetnsExecutor
from crishim.netdev.records import ORPHANED, Attachment, DeviceRequest, State

log = logging.getLogger("crishim.netdev")

Return = Callable[[Sequence[Attachment], str], Awaitable[object]]


class Named(NamedTuple):
    """done: the device was renamed. called: its present name, while another link has its own."""

    done: bool = False
    called: str = ""


class Orphans:
    """Looks for orphans and returns them."""

    def __init__(self, journal: Journal, host: Path, lock: Callable[[str], asyncio.Lock], give_back: Return) -> None:
        """host: handle of the host's namespace. lock: of a pod's devices, by its id. give_back(attachments, netns):
        returns them, from the namespace of that handle and from the host; "" for the host alone."""
        self._journal = journal
        self._host = host
        self._lock = lock
        self._give_back = give_back

    async def retry(self, attachment: Attachment, netns: str = "", *, also: frozenset[State] = frozenset()) -> None:
        """Look again for a LOST device, or try again to bring up a DOWN one. also: further states to act on."""
        async with self._lock(attachment.pod.id):
            current = self._journal.find(attachment.id)
            if current is not None and current.state in ORPHANED | also:
                await self._give_back([current], netns)

    async def fetch_requested(self, requests: Sequence[DeviceRequest]) -> None:
        """Return requested devices that are orphans, before their present state is captured as the one to restore."""
        asked = {request.device for request in requests}
        for attachment in self._journal.all():
            if attachment.state in ORPHANED and asked & {attachment.host.name, *attachment.host.altnames}:
                await self.retry(attachment)

    def may_be_one(self, link: Link) -> bool:
        """Whether a host link may be an orphan. For READY devices only the altname and the hardware are compared: hosts
        have many links of each virtual kind, and the stop of the pod finds the device anyhow."""
        return any(
            link.kind == a.identity.kind and (a.state is State.LOST or (a.state is State.READY and looks_like(a, link)))
            for a in self._journal.all()
        )

    async def fetch(self, candidates: Sequence[Link] | None) -> None:
        """Return devices that are found among these host links; None: among all. Raises CrishimError."""
        missing = [a for a in self._journal.all() if a.state in (State.LOST, State.READY)]
        if not missing or candidates == []:
            return

        def present(host: Netns) -> list[Attachment]:
            if candidates is None:
                return [a for a in missing if find_on_host(a, host) is not None]
            return [a for a in missing if any(is_device(a, link, host) for link in candidates)]

        for attachment in await NetnsExecutor((self._host,)).run(present, last=True):
            log.warning("a device has turned up", extra={"device": attachment.device, "pod": attachment.pod.id})
            await self.retry(attachment, also=frozenset({State.READY}))

    async def name_again(self, attachment: Attachment, called: str = "") -> Named:
        """Give a returned device the name it had, if that is free. called: act only if this is its present name.

        Raises CrishimError.
        """

        def rename(host: Netns) -> Named:
            link = find_on_host(attachment, host)
            was = attachment.host.name
            if link is None or link.name == was or called not in ("", link.name):
                return Named()
            if links.index_of(host.netlink, was):
                return Named(called=link.name)
            log.warning(
                f"{was} was called {link.name} when it was back: it is {was} again",
                extra={"device": was, "pod": attachment.pod.id},
            )
            links.change(host.netlink, link.index, name=was)
            return Named(done=True)

        return await NetnsExecutor((self._host,)).run(rename, last=True)


def outlives_its_pod(attachment: Attachment) -> bool:
    """Whether an orphan's record is kept when its pod is gone: no pod can destroy hardware, it may reappear."""
    return attachment.state is State.LOST and is_hardware(attachment.identity)
