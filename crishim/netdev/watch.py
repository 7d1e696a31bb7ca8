"""Watches the host's links while the daemon runs: a LOST device that reappears is restored, a DOWN one is brought up
when possible (return_retries.py), a returned one is given its name back when that is free.

A device reappears when the namespace it was in has ended (the kernel moves hardware to the first namespace, down, under
a free name), when hardware is plugged in again, or when somebody moves it by hand.

A returned device that udev gives another name than it had when it was taken is renamed back, once: udev names a device
when it appears, and the administrator may have renamed it since then. Later renames are left alone. (restore.py does
the same during the return.)
"""

import asyncio
import contextlib
import logging
import time
from pathlib import Path

from crishim.errors import CrishimError
from crishim.linux import executors
from crishim.linux.netlink import links
from crishim.linux.netlink.link_events import LinkEvents
from crishim.linux.netlink.links import Link
from crishim.netdev.arrivals import Arrivals
from crishim.netdev.journal import Journal
from crishim.netdev.netns_executor import NetnsExecutor
from crishim.netdev.orphans import Orphans
from crishim.netdev.records import Attachment
from crishim.netdev.return_retries import ReturnRetries

log = logging.getLogger("crishim.netdev")
PAUSE = 0.2  # seconds from an event to the read: a link that appears is renamed and changed several times at once
NAMED_FOR = 10.0  # seconds after the return in which a rename is taken for udev's


class Watch:
    """Started once recovery is over."""

    def __init__(self, orphans: Orphans, journal: Journal, netns: Path, arrivals: Arrivals) -> None:
        """netns: the host's network namespace."""
        self._orphans = orphans
        self._journal = journal
        self._netns = netns
        self._arrivals = arrivals
        self._links: dict[int, Link] = {}  # that changed, by ifindex
        self._missed = True  # events were missed, or nothing was read yet
        self._returned: dict[int, tuple[Attachment, float]] = {}  # by ifindex; watched until
        self._doubtful: list[Attachment] = []  # may have another name by now
        self._retries = ReturnRetries(journal)
        self._wake = asyncio.Event()
        self._events: LinkEvents | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start watching; devices that reappeared before are looked for first. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._events = await executors.kernel(LinkEvents, self._netns, self._changed, self._gone)
        self._events.start()
        self._journal.on_return = lambda *returned: loop.call_soon_threadsafe(self._note, *returned)
        self._wake.set()
        self._task = loop.create_task(self._run(), name="network device watch")

    async def close(self) -> None:
        self._journal.on_return = None
        if self._events is not None:
            self._events.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _read_links(self) -> None:
        """Raises CrishimError."""
        here = NetnsExecutor((self._netns,))
        self._arrivals.read(await here.run(lambda host: links.dump(host.netlink), last=True))

    def _changed(self, link: Link | None) -> None:
        if link is not None:
            self._arrivals.note(link)
        due = link is not None and self._retries.note(link)
        if link is None:
            self._missed = True
            self._retries.all()
        elif self._is_renamed(link):
            self._doubtful.append(self._returned[link.index][0])
        elif self._orphans.may_be_one(link):
            self._links[link.index] = link
        elif not due:
            return
        self._wake.set()

    def _gone(self, link: Link) -> None:
        self._arrivals.gone(link)
        if self._retries.note(link, gone=True):
            self._wake.set()

    def _note(self, attachment: Attachment, index: int) -> None:
        """A device was returned under its name. It may have been renamed since it was last read."""
        now = time.monotonic()
        self._returned = {i: entry for i, entry in self._returned.items() if entry[1] > now}
        self._returned[index] = attachment, now + NAMED_FOR
        self._doubtful.append(attachment)
        self._wake.set()

    def _is_renamed(self, link: Link) -> bool:
        attachment, until = self._returned.get(link.index, (None, 0.0))
        return attachment is not None and link.name != attachment.host.name and time.monotonic() < until

    def _is_watched(self, attachment: Attachment) -> bool:
        return any(known.id == attachment.id for known, _ in self._returned.values())

    async def _name_again(self, attachment: Attachment) -> None:
        named = await self._orphans.name_again(attachment)
        if named.done:
            self._returned = {i: e for i, e in self._returned.items() if e[0].id != attachment.id}
        self._retries.misname(attachment, named.called)

    async def _try_again(self, attachment: Attachment) -> None:
        if attachment.id in self._retries.misnamed:
            _, called = self._retries.misnamed[attachment.id]
            named = await self._orphans.name_again(attachment, called)
            self._retries.misname(attachment, named.called)
        else:
            await self._orphans.retry(attachment)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._retries.wait(time.monotonic())):
                    await self._wake.wait()
            await asyncio.sleep(PAUSE)
            self._wake.clear()
            changed, self._links = list(self._links.values()), {}
            doubtful, self._doubtful = self._doubtful, []
            missed, self._missed = self._missed, False
            try:
                if missed:
                    await self._read_links()
                for attachment in doubtful:
                    if self._is_watched(attachment):
                        await self._name_again(attachment)
                for attachment in self._retries.take(time.monotonic()):
                    await self._try_again(attachment)
                await self._orphans.fetch(None if missed else changed)
            except (CrishimError, OSError) as error:
                log.error("a look at the host's links failed", extra={"error": str(error)})
