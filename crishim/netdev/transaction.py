"""The devices of one container, step by step: check and lease, mark, move, verify; or roll back.

All or nothing: after an error before READY, every device that the transaction moved is returned as it was. Each step
runs in the transaction's thread (netns_executor.py) and is given the open namespaces: the host's, the pod's, and those
held of the pod's own (nested_namespaces.py).
"""

import errno
import logging
import time
from collections.abc import Mapping, Sequence

from crishim.errors import CrishimError, Kind
from crishim.linux.netlink import links
from crishim.linux.netlink.links import Link
from crishim.linux.netns_thread import Netns
from crishim.netdev import duplicate_detection, verify, wrong_device
from crishim.netdev.identity import find_in_pod, find_on_host
from crishim.netdev.journal import Journal
from crishim.netdev.lease import Leases
from crishim.netdev.records import Attachment, DeviceRequest, Mover, PodRef, State
from crishim.netdev.return_device import return_devices
from crishim.netdev.verify import Verified, locate

log = logging.getLogger("crishim.netdev")


class Transaction:
    """The steps in their order: lease, begin, then verify or roll_back. Not for two threads at once."""

    def __init__(self, pod: PodRef, journal: Journal, leases: Leases, dad_timeout: float) -> None:
        """dad_timeout: seconds to wait for duplicate address detection."""
        self.pod = pod
        self._journal = journal
        self._leases = leases
        self._dad_timeout = dad_timeout
        self._new: list[str] = []  # ids of attachments
        self._kept: list[str] = []
        self._verified: dict[str, Verified] = {}
        self._on_host: frozenset[int] = frozenset()  # inodes of wrong_device.entries()

    @property
    def new(self) -> list[Attachment]:
        """Devices that this transaction adds to the pod."""
        return self._known(self._new)

    @property
    def kept(self) -> list[Attachment]:
        """Devices that were in the pod before."""
        return self._known(self._kept)

    @property
    def is_empty(self) -> bool:
        return not (self._new or self._kept)

    @property
    def entries(self) -> Mapping[str, Mapping[str, str]]:
        """For linux.netDevices of config.json: what the OCI runtime is to move."""
        return {a.device: {"name": a.name} for a in self.new if a.mover is Mover.RUNTIME}

    def _known(self, ids: list[str]) -> list[Attachment]:
        return [a for a in map(self._journal.find, ids) if a is not None]

    # --- check and lease: nothing is touched yet ----------------------------------------------------------------------

    def lease(
        self,
        requests: Sequence[DeviceRequest],
        mover: Mover,
        host: Netns,
        pod: Netns,
        *nested: Netns,
    ) -> None:
        """Check everything, capture, and journal INTENT. Raises as NetDevices.plan()."""
        new, kept = self._leases.take(requests, self.pod, mover, host, pod, *nested)
        self._new, self._kept = [a.id for a in new], [a.id for a in kept]

    def abandon(self) -> None:
        """Drop INTENT records of a lease that failed."""
        for attachment in self._journal.all(self.pod.id):
            if attachment.state is State.INTENT:
                self._journal.drop(attachment)

    # --- mark and move ------------------------------------------------------------------------------------------------

    def begin(self, host: Netns, pod: Netns, *_nested: Netns) -> None:
        """Put our altname on the new devices, and with the built-in mover move and repair them.

        Raises NOT_FOUND or PRECONDITION; some may be in the pod then.
        """
        for attachment in self.new:
            mark(attachment, host)
        builtin = [a for a in self.new if a.mover is Mover.BUILTIN]
        if len(builtin) < len(self._new):
            self._on_host = frozenset(wrong_device.entries(host).values())
        for attachment in builtin:  # back to back: the kernel waits in whole ticks, a pause costs one
            move(attachment, host, pod)
        self._repair([(a, locate(a, pod)) for a in self.kept], pod, first=False)
        self._repair([self._moved(a, pod) for a in builtin], pod, first=True)

    def _moved(self, attachment: Attachment, pod: Netns) -> tuple[Attachment, Link]:
        link = find_in_pod(attachment, pod)
        if link is None:
            raise CrishimError(
                Kind.PRECONDITION,
                f"device {attachment.device} was moved but is not in pod {self.pod}",
                device=attachment.device,
            )
        return self._journal.advance(attachment, State.MOVED, index=link.index), link

    # --- verify -------------------------------------------------------------------------------------------------------

    def verify(self, host: Netns, pod: Netns, *_nested: Netns) -> None:
        """Check and repair what the OCI runtime moved, and journal READY.

        Devices that were in the pod before only have to be there still: hooks may have changed them.
        Raises PRECONDITION if a device is not there and cannot be brought there.
        """
        for attachment in self.kept:
            locate(attachment, pod)
        moved = [self._arrived(a, host, pod) for a in self.new]
        self._repair([(a, link) for a, link in moved if a.id not in self._verified], pod, first=True)
        for attachment, _ in moved:
            found = self._verified[attachment.id]
            self._journal.advance(
                attachment, State.READY, addresses=found.addresses, warnings=found.problems, since=time.time_ns()
            )

    def _arrived(self, attachment: Attachment, host: Netns, pod: Netns) -> tuple[Attachment, Link]:
        """The attachment as MOVED. If the OCI runtime ignored linux.netDevices, the device is moved here."""
        if attachment.state is not State.INTENT:
            return attachment, locate(attachment, pod)
        if find_in_pod(attachment, pod) is None and find_on_host(attachment, host) is not None:
            wrong_device.send_back(attachment, self._on_host, host, pod)
            text = f"the OCI runtime left device {attachment.device} on the host: moving it"
            log.warning(text, extra={"device": attachment.device, "pod": self.pod.id})
            move(attachment, host, pod)
        return self._moved(attachment, pod)

    def _repair(self, found: list[tuple[Attachment, Link]], pod: Netns, *, first: bool) -> None:
        """Check and repair devices that were found in the pod, and wait for duplicate address detection."""
        verified = {a.id: verify.verify(a, link, pod, first=first) for a, link in found}
        attachments = [a for a, _ in found]
        undecided = [a for a in attachments if first and verified[a.id].undecided]
        doubts = duplicate_detection.wait(undecided, pod, self._dad_timeout) if undecided else {}
        for attachment in attachments:
            outcome = verified[attachment.id]
            outcome = outcome._replace(problems=(*outcome.problems, *doubts.get(attachment.id, ())))
            self._verified[attachment.id] = outcome
            for problem in outcome.problems:
                about = {"device": attachment.device, "pod": self.pod.id, "interface": attachment.name}
                log.warning(problem, extra=about)

    # --- roll back ----------------------------------------------------------------------------------------------------

    def roll_back(self, host: Netns, pod: Netns, *_nested: Netns) -> None:
        """Newest first. What cannot be brought back stays RETURNING in the journal, for the stop or the next start."""
        return_devices([(a, pod) for a in reversed(self.new)], self._journal, host)


def mark(attachment: Attachment, host: Netns) -> None:
    """Put our altname on a host link, and take off an altname that is to be its name in the pod.

    Raises NOT_FOUND if it is gone, PRECONDITION if the kernel refuses.
    """
    try:
        if attachment.name in attachment.host.altnames:
            links.remove_altname(host.netlink, attachment.host.index, attachment.name)
        links.add_altname(host.netlink, attachment.host.index, attachment.altname)
    except OSError as error:
        raise CrishimError(
            Kind.NOT_FOUND if error.errno == errno.ENODEV else Kind.PRECONDITION,
            f"device {attachment.device} cannot be prepared: {error.strerror}",
            device=attachment.device,
        ) from error


def move(attachment: Attachment, host: Netns, pod: Netns) -> None:
    """Move one device into the pod, renamed and UP: the OCI runtime specification's "Network Devices"
    (config-linux.md), in one message. Raises NOT_FOUND, PRECONDITION; it may then be in the pod, misnamed."""
    try:
        links.move(host.netlink, attachment.host.index, pod.fd, attachment.name, up=True)
    except OSError as error:
        raise CrishimError(
            Kind.NOT_FOUND if error.errno == errno.ENODEV else Kind.PRECONDITION,
            f"device {attachment.device} could not be moved to pod {attachment.pod} "
            f"as {attachment.name}: {error.strerror}",
            device=attachment.device,
        ) from error
