"""Stand-ins for attachments whose record cannot be read: their devices stay in their pods and are returned later.

Fields come from the record where it has them (a newer version's does), else from the copy written when the attachment
was planned. Our altname on a link is not enough: a pod may put it on any link (identity.py).
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

from crishim import records
from crishim.linux import record_files
from crishim.linux.record_files import Unread
from crishim.netdev.records import Attachment, Mover, State
from crishim.records import UnreadableError

_ID = re.compile(r"[0-9a-f]{1,16}")


@cache
def boot_id() -> str:
    """The kernel's id of this boot, random(4)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def is_id(text: str) -> bool:
    """Whether text may be an attachment's id."""
    return _ID.fullmatch(text) is not None


def usable(attachment: Attachment) -> None:
    """Raise if an address or route of a well-formed attachment cannot be decoded."""
    for address in attachment.host.addresses:
        str(address), address.label
    for route in attachment.host.routes:
        route.table, route.links, route.is_automatic, route.has_gateway  # noqa: B018


def stand_in(unread: Unread, copies: Path | None) -> Attachment | None:
    """An attachment made of the readable fields; None if they are too few.

    A container may be running with the device by now: it is READY, unless it was RETURNING, LOST or DOWN.
    """
    try:
        copy = records.salvage(record_files.read(copies / f"{unread.id}.json"), Attachment) if copies else {}
    except UnreadableError:
        copy = {}
    for known in (copy | unread.salvaged, copy):
        state = unread.salvaged.get("state")
        before = state in (State.RETURNING, State.LOST, State.DOWN)
        fields: dict[str, Any] = {"mover": Mover.BUILTIN, "sources": (), "wanted": "", "boot": boot_id()} | known
        fields |= {"id": unread.id, "state": state if before else State.READY}
        try:
            attachment = Attachment(**fields)
            usable(attachment)
        except Exception:
            continue
        return attachment
    return None
