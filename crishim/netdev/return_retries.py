"""When returned devices that another link keeps from being restored are tried again: a DOWN one when its parent is up
or its MAC is free, one with a fallback name when its own is free.

Only a change of another link causes a try. The pause between two tries of one device doubles up to LONGEST, to limit
the work on a host whose links change all the time.
"""

from crishim.linux.netlink.links import Link
from crishim.netdev.journal import Journal
from crishim.netdev.records import Attachment, State

FIRST, LONGEST = 1.0, 60.0  # seconds between tries
MOST = 256  # misnamed devices: each pod can leave some


class ReturnRetries:
    """Times are time.monotonic()'s."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._due: set[str] = set()  # ids of attachments that may succeed now
        self._next: dict[str, tuple[float, float]] = {}  # by id: earliest time, and the pause after that
        self.misnamed: dict[str, tuple[Attachment, str]] = {}  # by id: DONE ones, and what they are called

    def note(self, link: Link, *, gone: bool = False) -> bool:
        """Take a link that has changed, or is gone. Returns whether something is due because of it."""
        down = {a.id for a in self._down() if _may_help(a, link, gone=gone)}
        free = {id for id, (a, called) in self.misnamed.items() if link.name not in (a.host.name, called) or gone}
        self._due |= down | free
        return bool(down or free)

    def all(self) -> None:
        """Events were missed: everything is due."""
        self._due |= {a.id for a in self._down()} | self.misnamed.keys()

    def misname(self, attachment: Attachment, called: str) -> None:
        """Another link has its name. called: its present name; "" when it has its own again."""
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
    """Whether a DOWN device may come up after this change: of its parent, of a link on the same parent or with its MAC
    (which may have kept it down), or of the device itself, if somebody has brought it up."""
    was = attachment.host
    if link.index == was.index and not gone:
        return link.is_up
    sibling = bool(was.parent) and link.parent == was.parent
    return link.index == was.parent or sibling or (bool(was.mac) and link.mac == was.mac)
