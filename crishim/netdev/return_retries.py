"""What another link kept from being restored, and when it is tried again: a device that is DOWN until its parent is up
or its address free, one that is back under a fallback name until its own is free.

Something has to happen to another link first. Between two tries of one device the time doubles up to LONGEST, so that
a host whose links change all the time is not kept busy with it.
"""

from crishim.linux.netlink.links import Link
from crishim.netdev.journal import Journal
from crishim.netdev.records import Attachment, State

FIRST, LONGEST = 1.0, 60.0  # seconds between tries
MOST = 256  # devices whose name is another's: each pod can leave its own


class ReturnRetries:
    """Times are time.monotonic()'s."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._due: set[str] = set()  # ids of attachments that may succeed now
        self._next: dict[str, tuple[float, float]] = {}  # when at the earliest, and the pause after that
        self.misnamed: dict[str, tuple[Attachment, str]] = {}  # by id: DONE ones, and what they are called

    def note(self, link: Link, *, gone: bool = False) -> bool:
        """A link has changed, or has gone: whether something is due because of it."""
        down = {a.id for a in self._down() if _may_help(a, link, gone=gone)}
        free = {id for id, (a, called) in self.misnamed.items() if link.name not in (a.host.name, called) or gone}
        self._due |= down | free
        return bool(down or free)

    def all(self) -> None:
        """Nobody knows what has changed."""
        self._due |= {a.id for a in self._down()} | self.misnamed.keys()

    def misname(self, attachment: Attachment, called: str) -> None:
        """Its name is another's; "" if that is over."""
        self.misnamed.pop(attachment.id, None)
        if called and len(self.misnamed) < MOST:
            self.misnamed[attachment.id] = attachment, called

    def wait(self, now: float) -> float | None:
        """Seconds until something that is due may be tried; None: nothing is due."""
        return min((max(0.0, self._next.get(id, (0.0, 0.0))[0] - now) for id in self._due), default=None)

    def take(self, now: float) -> list[Attachment]:
        """DOWN and misnamed devices to be tried now."""
        known = {a.id: a for a in self._down()} | {id: a for id, (a, _) in self.misnamed.items()}
        self._due &= known.keys()
        self._next = {id: when for id, when in self._next.items() if id in known}
        ready = [id for id in self._due if self._next.get(id, (0.0, 0.0))[0] <= now]
        for id in ready:
            pause = min(self._next.get(id, (0.0, FIRST))[1], LONGEST)
            self._next[id] = now + pause, 2 * pause
        self._due -= set(ready)
        return [known[id] for id in ready]

    def _down(self) -> list[Attachment]:
        return [a for a in self._journal.all() if a.state is State.DOWN]


def _may_help(attachment: Attachment, link: Link, *, gone: bool) -> bool:
    """Whether a device that is DOWN may come up after this: its parent changed, or one on the same parent, which may
    have had its address, or one with its MAC went; or somebody has brought it up."""
    was = attachment.host
    if link.index == was.index and not gone:
        return link.is_up
    sibling = bool(was.parent) and link.parent == was.parent
    return link.index == was.parent or sibling or (bool(was.mac) and link.mac == was.mac)
