"""Makes attachments of requests: reads the links, checks, leases, captures, writes INTENT. A transaction's first step.

Before the lease another pod may have taken the device and returned it partly restored. So links are read again under
the lease; if one has changed, everything is read and checked again.
"""

import errno
import secrets
import time
from collections.abc import Sequence

import msgspec

from crishim.errors import CrishimError, Kind
from crishim.linux.netlink import links
from crishim.linux.netlink.links import Link
from crishim.linux.netns_thread import Netns
from crishim.netdev.adopt import boot_id
from crishim.netdev.capture import capture
from crishim.netdev.identity import find_in_pod, identify, same
from crishim.netdev.journal import Journal
from crishim.netdev.link_usage import read_usage
from crishim.netdev.nested_namespaces import end_with
from crishim.netdev.policy import Terms
from crishim.netdev.records import ORPHANED, Attachment, Captured, DeviceRequest, Mover, PodRef, State
from crishim.netdev.return_device import return_device
from crishim.netdev.validate import MergedRequest, RequestContext, assign_names, resolve

Leased = tuple[list[Attachment], list[Attachment]]  # new, already in the pod
ATTEMPTS = 5  # when links change meanwhile


class _Changed(Exception):
    """A link has changed since it was first read."""


class Leases:
    """Takes leases of devices; they are kept in the journal."""

    def __init__(self, journal: Journal, terms: Terms) -> None:
        self._journal = journal
        self._terms = terms

    def take(
        self,
        requests: Sequence[DeviceRequest],
        pod: PodRef,
        mover: Mover,
        host: Netns,
        inside: Netns,
        *nested: Netns,
    ) -> Leased:
        """New attachments, leased and journalled, and those that are in the pod. Raises as NetDevices.plan().

        nested: where else devices of the pod may be (nested_namespaces.py).
        """
        self._return_departed(pod, host, inside, *nested)
        for _ in range(ATTEMPTS):
            try:
                return self._attempt(requests, pod, mover, host, inside)
            except _Changed:
                pass
            except OSError as error:
                if error.errno != errno.ENODEV:
                    raise
        raise CrishimError(
            Kind.ABORTED,
            f"device {requests[0].device} or another one asked for keeps changing",
            device=requests[0].device,
        )

    def _attempt(
        self, requests: Sequence[DeviceRequest], pod: PodRef, mover: Mover, host: Netns, inside: Netns
    ) -> Leased:
        receiver = pod if host.inode != inside.inode else msgspec.structs.replace(pod, netns="")
        on_host, in_pod = links.dump(host.netlink), links.dump(inside.netlink)
        view = RequestContext(receiver, on_host, in_pod, self._journal.held(), self._terms)
        merged_requests = resolve(requests, view)
        candidates = [w.link for w in merged_requests if w.link is not None]
        with self._journal.claimed(pod, [(link.index, link.name) for link in candidates]):
            current = {link.index: _reread(link, host) for link in candidates}
            view = view._replace(around=read_usage(host, list(current.values())))
            chosen = [(w, name, w.link.index) for w, name in assign_names(merged_requests, view) if w.link is not None]
            was = capture(host, [current[index] for _, _, index in chosen])
            new = [_intent(w, name, pod, mover, inside, current[i], host, was[i]) for w, name, i in chosen]
            self._open(new)
        return new, [self._keep(w.attachment, w.sources) for w in merged_requests if w.attachment is not None]

    def _open(self, new: list[Attachment]) -> None:
        """Lease and journal. LOST and DOWN records of the same devices, of earlier pods, are dropped.

        A device that is still DOWN has lost its routes: flags, routes and nexthops to restore are those of its record.
        """
        orphans = [a for a in self._journal.all() if a.state in ORPHANED]
        for number, attachment in enumerate(new):
            for old in orphans:
                if same(old.identity, attachment.identity) and not attachment.host.flags & links.IFF_UP:
                    kept = {field: getattr(old.host, field) for field in ("flags", "routes", "nexthops")}
                    host = msgspec.structs.replace(attachment.host, **kept)
                    new[number] = msgspec.structs.replace(attachment, host=host)
        self._journal.open(new)
        for old in orphans:
            if any(same(old.identity, attachment.identity) for attachment in new):
                self._journal.drop(old)

    def _keep(self, attachment: Attachment, sources: tuple[str, ...]) -> Attachment:
        """A device that is in the pod already; sources are added to its record. Raises PRECONDITION if not READY."""
        if attachment.state is not State.READY:
            raise CrishimError(
                Kind.PRECONDITION,
                f"device {attachment.device} of pod {attachment.pod} is {attachment.state}",
                device=attachment.device,
            )
        merged = tuple(dict.fromkeys(attachment.sources + sources))
        if merged == attachment.sources:
            return attachment
        return self._journal.advance(attachment, attachment.state, sources=merged)

    def _return_departed(self, pod: PodRef, host: Netns, inside: Netns, *nested: Netns) -> None:
        """Return READY devices that have left the pod without us, so that they can be asked for again."""
        for attachment in self._journal.all(pod.id):
            if attachment.state is State.READY and find_in_pod(attachment, inside) is None:
                return_device(attachment, self._journal, host, end_with(attachment, (inside, *nested)))


def _reread(link: Link, host: Netns) -> Link:
    """The link as it is under the lease. Raises _Changed if its names or kind differ, OSError."""
    found = links.get(host.netlink, link.index)
    if found is None or (found.names, found.kind) != (link.names, link.kind):
        raise _Changed
    return found


def _intent(
    merged: MergedRequest,
    name: str,
    pod: PodRef,
    mover: Mover,
    inside: Netns,
    link: Link,
    host: Netns,
    was: Captured,
) -> Attachment:
    now = time.time_ns()
    return Attachment(
        id=secrets.token_hex(8),
        pod=pod,
        netns_inode=inside.inode,
        state=State.INTENT,
        mover=mover,
        sources=merged.sources,
        wanted=merged.wanted,
        name=name,
        host=was,
        identity=identify(link, host),
        boot=boot_id(),
        since=now,
        changed=now,
    )
