"""One container's devices, from the check to READY or back: the steps that run in a namespace thread, and their order.

All or nothing: whatever goes wrong before READY, every device this plan moved goes back as it was.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, TypeVar

from crishim.errors import CrishimError, Kind
from crishim.linux.netlink.links import Link
from crishim.linux.netns_thread import End
from crishim.netdev import move, wrong_device
from crishim.netdev.identity import find_in_pod, find_on_host
from crishim.netdev.journal import Journal
from crishim.netdev.metrics import Metrics
from crishim.netdev.records import ORPHANED, Attachment, Mover, Pod, State
from crishim.netdev.restore import restore

log = logging.getLogger("crishim.netdev")
T = TypeVar("T")
REFUSALS = 3  # of the kernel to move a device home, after which its pod's stop goes on without it
Runner = Callable[[Callable[[End, End], T]], Awaitable[T]]


class Plan:
    """What one container's devices need. Made by NetDevices.plan(); holds the pod's device lock until it is settled.

    attachments: every device of the container, those already in the pod too.
    entries: for linux.netDevices of config.json, {host name: {"name": in-pod name}}; only devices the OCI runtime is
    to move. Empty when all are in the pod already, or the built-in mover does it.
    """

    def __init__(
        self,
        pod: Pod,
        new: list[Attachment],
        kept: list[Attachment],
        *,
        journal: Journal,
        metrics: Metrics,
        run: Runner[Any],
        release: Callable[[], None],
        dad_timeout: float,
    ) -> None:
        self.pod = pod
        self._new = [a.id for a in new]
        self._kept = [a.id for a in kept]
        self._journal = journal
        self._metrics = metrics
        self._run = run
        self._release = release
        self._dad_timeout = dad_timeout
        self._started = time.monotonic()
        self._verified: dict[str, move.Verified] = {}
        self._settled = False
        self._on_host: frozenset[int] = frozenset()  # devices, as wrong_device.entries() tells them

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        return tuple(self._known(self._kept) + self._known(self._new))

    @property
    def entries(self) -> Mapping[str, Mapping[str, str]]:
        return {a.device: {"name": a.name} for a in self._known(self._new) if a.mover is Mover.RUNTIME}

    def _known(self, ids: list[str]) -> list[Attachment]:
        return [a for a in map(self._journal.find, ids) if a is not None]

    async def begin(self) -> None:
        """Put our altname on the devices, and with the built-in mover move them: all, or none and an error.

        What is in the pod then is checked and repaired, so that hooks of the runtime's create find it complete. Raises
        NOT_FOUND or PRECONDITION; then everything is as it was and the plan is over.
        """
        if not (self._new or self._kept):
            return
        try:
            await self._run(self._begin)
        except BaseException:
            await self.rollback()
            raise

    def _begin(self, host: End, pod: End) -> None:
        for attachment in self._known(self._new):
            try:
                move.mark(attachment, host)
            except OSError as error:
                raise CrishimError(
                    Kind.NOT_FOUND if error.errno == 19 else Kind.PRECONDITION,  # ENODEV
                    f"device {attachment.device} cannot be prepared: {error.strerror}",
                    device=attachment.device,
                ) from error
        mine = [a for a in self._known(self._new) if a.mover is Mover.BUILTIN]
        if len(mine) < len(self._new):
            self._on_host = frozenset(wrong_device.entries(host).values())
        for attachment in mine:  # back to back: the kernel waits in whole ticks, a pause costs one
            move.move(attachment, host, pod)
        self._repair([(a, move.locate(a, pod)) for a in self._known(self._kept)], pod, first=False)
        self._repair([self._moved(attachment, pod) for attachment in mine], pod, first=True)

    def _moved(self, attachment: Attachment, pod: End) -> tuple[Attachment, Link]:
        link = find_in_pod(attachment, pod)
        if link is None:
            raise CrishimError(
                Kind.PRECONDITION,
                f"device {attachment.device} was moved but is not in pod {self.pod}",
                device=attachment.device,
            )
        return self._journal.advance(attachment, State.MOVED, index=link.index), link

    async def verify_and_repair(self) -> tuple[Attachment, ...]:
        """After the container was created and before it starts: check and repair what the OCI runtime moved; READY.

        What was in the pod before only has to be there still: what a hook did to it is the hook's business.
        Raises PRECONDITION if a device is not there and cannot be brought there; call rollback() then.
        """
        if self._settled or not (self._new or self._kept):
            return self.attachments
        await self._run(self._verify)
        if self._new:
            self._metrics.observe("attach", time.monotonic() - self._started, len(self._new))
        self._settle()
        return self.attachments

    def _verify(self, host: End, pod: End) -> None:
        for attachment in self._known(self._kept):
            move.locate(attachment, pod)
        moved = [self._arrived(a, host, pod) for a in self._known(self._new)]
        self._repair([(a, link) for a, link in moved if a.id not in self._verified], pod, first=True)
        for attachment, _ in moved:
            found = self._verified[attachment.id]
            self._journal.advance(
                attachment, State.READY, addresses=found.addresses, warnings=found.problems, since=time.time_ns()
            )

    def _repair(self, found: list[tuple[Attachment, Link]], pod: End, *, first: bool) -> None:
        """Check and repair devices that were found in the pod, and wait for duplicate address detection."""
        verified = {a.id: move.verify(a, link, pod, first=first) for a, link in found}
        attachments = [a for a, _ in found]
        undecided = [a for a in attachments if first and verified[a.id].undecided]
        doubts = move.await_detection(undecided, pod, self._dad_timeout) if undecided else {}
        for attachment in attachments:
            outcome = verified[attachment.id]
            outcome = outcome._replace(problems=(*outcome.problems, *doubts.get(attachment.id, ())))
            self._verified[attachment.id] = outcome
            for problem in outcome.problems:
                about = {"device": attachment.device, "pod": self.pod.id, "interface": attachment.name}
                log.warning(problem, extra=about)

    def _arrived(self, attachment: Attachment, host: End, pod: End) -> tuple[Attachment, Link]:
        """The attachment as MOVED, whoever moved it; a runtime that ignored its config.json is made up for."""
        if attachment.state is not State.INTENT:
            return attachment, move.locate(attachment, pod)
        if find_in_pod(attachment, pod) is None and find_on_host(attachment, host) is not None:
            wrong_device.send_back(attachment, self._on_host, host, pod)
            text = f"the OCI runtime left device {attachment.device} on the host: moving it"
            log.warning(text, extra={"device": attachment.device, "pod": self.pod.id})
            move.move(attachment, host, pod)
        return self._moved(attachment, pod)

    async def rollback(self) -> None:
        """Bring back what this plan moved, as it was, and end the leases. Nothing happens after verify_and_repair."""
        if self._settled:
            return
        try:
            if self._new:
                await self._run(self._undo)
        finally:
            self._settle()

    def _undo(self, host: End, pod: End) -> None:
        """Newest first. What cannot be brought back stays RETURNING in the journal, for the stop or the next start."""
        self._metrics.fail("attach", "rolled back")
        for attachment in reversed(self._known(self._new)):
            bring_back(attachment, self._journal, host, pod)

    def _settle(self) -> None:
        if not self._settled:
            self._settled = True
            self._release()

    async def __aenter__(self) -> "Plan":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Roll back unless verify_and_repair succeeded."""
        await self.rollback()


def bring_back(attachment: Attachment, journal: Journal, host: End, pod: End | None) -> tuple[Attachment, str]:
    """Restore one device and journal how it ended: the attachment (DONE, DOWN, LOST, still RETURNING), and what failed.

    A kernel that refuses the move is asked REFUSALS times in all, at each call once; then the device is LOST, so that
    its pod can end.
    """
    if attachment.state not in ORPHANED:
        attachment = journal.advance(attachment, State.RETURNING)
    about = {"device": attachment.device, "pod": attachment.pod.id}
    try:
        outcome = restore(attachment, host, pod)
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
