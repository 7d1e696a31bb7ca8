"""Returns devices to the host and journals the result: at a stop, a rollback, a recovery, or when one reappears."""

import logging
from collections.abc import Sequence

from crishim.errors import CrishimError
from crishim.linux.netns_thread import Netns
from crishim.netdev.identity import find_in_pod
from crishim.netdev.journal import Journal
from crishim.netdev.records import ORPHANED, Attachment, State
from crishim.netdev.restore import Problems, move_to_host, restore

log = logging.getLogger("crishim.netdev")
REFUSALS = 3  # of the kernel to move a device back, after which its pod's stop goes on without it


def return_device(attachment: Attachment, journal: Journal, host: Netns, pod: Netns | None) -> tuple[Attachment, str]:
    """One device: return_devices."""
    return return_devices([(attachment, pod)], journal, host)[0]


def return_devices(
    devices: Sequence[tuple[Attachment, Netns | None]], journal: Journal, host: Netns
) -> list[tuple[Attachment, str]]:
    """Move devices to the host, restore them, and journal the result. Returns the attachments (DONE, DOWN, LOST, still
    RETURNING), each with the error, "" if there is none.

    All are moved before the first is restored: each move waits for the kernel in whole ticks (linux/netlink/links.py),
    and a pause between two costs one. A device is down on the host until it is restored.

    A move that the kernel refuses is tried once in each call, REFUSALS times in all; then the device is LOST, so that
    its pod can be stopped.
    """
    marked = [(a if a.state in ORPHANED else journal.advance(a, State.RETURNING), pod) for a, pod in devices]
    moved = [(a, pod, _moved(a, host, pod)) for a, pod in marked]
    return [_restored(a, journal, host, pod, problems) for a, pod, problems in moved]


def _moved(attachment: Attachment, host: Netns, pod: Netns | None) -> Problems | OSError | CrishimError:
    try:
        return move_to_host(attachment, host, pod)
    except (OSError, CrishimError) as error:
        return error


def _restored(
    attachment: Attachment,
    journal: Journal,
    host: Netns,
    pod: Netns | None,
    moved: Problems | OSError | CrishimError,
) -> tuple[Attachment, str]:
    about = {"device": attachment.device, "pod": attachment.pod.id}
    try:
        if not isinstance(moved, Problems):
            raise moved
        outcome = restore(attachment, host, pod, moved)
    except (OSError, CrishimError) as error:
        why = str(error.strerror) if isinstance(error, OSError) else error.message
        text = f"device {attachment.device} of pod {attachment.pod} could not be returned: {why}"
        log.error(text, extra=about)
        return _refused(attachment, journal, why, text)
    for problem in outcome.problems:
        log.warning(problem, extra=about)
    warnings = tuple(dict.fromkeys((*attachment.warnings, *outcome.problems)))
    if not outcome.name and attachment.state is State.LOST:
        return attachment, ""
    if not outcome.name:
        return journal.advance(attachment, State.LOST, reason=outcome.reason, warnings=warnings), ""
    if outcome.down:
        return journal.advance(attachment, State.DOWN, reason=outcome.down, warnings=warnings), ""
    if journal.on_return is not None:
        journal.on_return(attachment, outcome.ifindex)
    return journal.advance(attachment, State.DONE, reason="", warnings=warnings), ""


def _refused(attachment: Attachment, journal: Journal, why: str, text: str) -> tuple[Attachment, str]:
    refusals = attachment.refusals + 1
    if attachment.state in ORPHANED or refusals >= REFUSALS:
        reason = f"the kernel refuses to move it back: {why} ({refusals} times)"
        return journal.advance(attachment, State.LOST, reason=reason, refusals=refusals), ""
    return journal.advance(attachment, State.RETURNING, reason=why, refusals=refusals), text


def recover_device(
    attachment: Attachment, journal: Journal, host: Netns, pod: Netns | None, *, is_alive: bool
) -> Attachment:
    """After a start: a READY device of a pod that is alive stays if it is there; any other returns."""
    if is_alive and pod is not None and attachment.state is State.READY and find_in_pod(attachment, pod) is not None:
        return attachment
    return return_device(attachment, journal, host, pod)[0]
