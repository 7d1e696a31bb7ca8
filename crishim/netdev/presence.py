"""How a device in its pod differs from how it was attached: gone, down, without carrier, renamed."""

from collections.abc import Sequence

from crishim.linux.netlink.link_monitor import LinkChange
from crishim.linux.netlink.links import Link
from crishim.linux.netns_thread import Netns
from crishim.model import Record
from crishim.netdev.identity import find_by
from crishim.netdev.records import Attachment

GONE, DOWN, NO_CARRIER, RENAMED = "gone", "down", "no carrier", "renamed"


class Presence(Record, frozen=True, kw_only=True):
    """A device as last read; the defaults: as it was attached."""

    is_there: bool = True
    why: str = ""  # it is gone: "deleted", "moved to another namespace"; "" if there was no event
    renamed: str = ""  # its present name, if not the one it was attached with
    is_up: bool = True
    has_carrier: bool = True

    @property
    def conditions(self) -> tuple[str, ...]:
        """What is not as it was attached."""
        if not self.is_there:
            return (GONE,)
        down = () if self.is_up else (DOWN,)
        carrier = (NO_CARRIER,) if self.is_up and not self.has_carrier else ()
        return (*down, *carrier, *((RENAMED,) if self.renamed else ()))

    def __str__(self) -> str:
        """The conditions as text; "" if there are none."""
        if not self.is_there:
            return f"gone from its pod: {self.why}" if self.why else "gone from its pod"
        return ", ".join(f"{c} {self.renamed}" if c == RENAMED else c for c in self.conditions)


ATTACHED = Presence()


def look(attachment: Attachment, pod: Netns, changes: Sequence[LinkChange], before: Presence) -> Presence:
    """Read it. changes: of the pod's links since `before`. Raises OSError.

    Only its last ifindex, its altname and the changed links are tried, not all links: a pod can make any number.
    """
    seen = [c.ifindex for c in changes if not c.is_gone]
    link = find_by(attachment, pod, (attachment.index, attachment.altname, *seen))
    if link is None:
        return _gone(attachment, changes, before)
    return of_link(attachment, link)


def of_link(attachment: Attachment, link: Link) -> Presence:
    other = link.name if link.name != attachment.name else ""
    return Presence(
        renamed=other.encode(errors="surrogateescape").decode(errors="replace"),  # the kernel takes any bytes
        is_up=link.is_up,
        has_carrier=link.has_carrier,
    )


def _gone(attachment: Attachment, changes: Sequence[LinkChange], before: Presence) -> Presence:
    went = [c for c in changes if c.is_gone and c.ifindex == attachment.index]
    why = before.why
    if went:
        why = "moved to another namespace" if went[-1].was_moved else "deleted"
    return Presence(is_there=False, why=why)
