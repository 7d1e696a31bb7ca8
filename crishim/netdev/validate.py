"""Checks of device requests, before anything is touched.

Nothing here talks to the kernel. A refusal leaves the host's links exactly as they were; an OCI runtime's netDevices
sets the link down before it checks.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from crishim.errors import CrishimError, Kind
from crishim.linux.netlink.links import Link
from crishim.netdev import link_checks
from crishim.netdev.link_checks import HostState
from crishim.netdev.link_usage import LinkUsage
from crishim.netdev.names import TEMPLATE, check_name, expand
from crishim.netdev.policy import Terms
from crishim.netdev.records import Attachment, DeviceRequest, PodRef, Source, held_by


class RequestContext(NamedTuple):
    """What the checks look at."""

    pod: PodRef
    host_links: Sequence[Link]
    pod_links: Sequence[Link]
    attachments: Sequence[Attachment]  # that hold a device, of every pod
    terms: Terms
    around: LinkUsage = LinkUsage()  # of the links to be moved

    @property
    def scene(self) -> HostState:
        return HostState(
            self.host_links,
            self.attachments,
            self.around,
            self.terms.node_addresses,
            self.terms.network_links(),
        )

    def holder(self, device: str) -> Attachment | None:
        """The attachment of the device with this host name; this pod's, if several had a device of that name."""
        found = [a for a in self.attachments if device in (a.host.name, *a.host.altnames)]
        return min(found, key=lambda a: a.pod.id != self.pod.id, default=None)


class MergedRequest(NamedTuple):
    """One device for one container, its requests merged."""

    device: str  # primary name on the host
    wanted: str  # never "", may hold %d
    sources: tuple[str, ...]
    link: Link | None = None  # on the host, to be moved
    attachment: Attachment | None = None  # in the pod already

    @property
    def by_annotation(self) -> bool:
        """Whether only annotations ask for it, which are the pod author's; every other source is root's."""
        return all(source.partition(":")[0] == Source.ANNOTATION for source in self.sources)


def check_network(requests: Sequence[DeviceRequest], pod: PodRef) -> None:
    """Raise PRECONDITION if devices are asked for and the pod is on the host's network."""
    if requests and not pod.netns:
        raise CrishimError(
            Kind.PRECONDITION,
            f"device {requests[0].device} cannot go to pod {pod}: it is on the host's network",
            device=requests[0].device,
        )


def resolve(requests: Sequence[DeviceRequest], view: RequestContext) -> list[MergedRequest]:
    """Find the devices, and merge requests for the same one. Raises NOT_FOUND, ABORTED, PRECONDITION, INVALID, DENIED.

    Raises PRECONDITION for one device under two names, and for two devices under one name, naming both; DENIED for an
    annotation that no rule allows, unless an earlier request, which is root's (CDI), gives the device anyway.
    """
    check_network(requests, view.pod)
    merged_requests: dict[str, MergedRequest] = {}
    on_host = {name: link for link in view.host_links for name in link.names}
    for request in requests:
        merged = _find(request, view, on_host.get(request.device), merged_requests)
        known = merged_requests.get(merged.device)
        if known is not None:
            if known.wanted != merged.wanted:
                raise _two_names(merged.device, (known.wanted, known.sources), (merged.wanted, merged.sources))
            merged = known._replace(sources=tuple(dict.fromkeys(known.sources + merged.sources)))
        merged_requests[merged.device] = merged
    _check_distinct(list(merged_requests.values()))
    return list(merged_requests.values())


def _find(request: DeviceRequest, view: RequestContext, link: Link | None, earlier: Collection[str]) -> MergedRequest:
    source = f"{request.source}: {request.origin}" if request.origin else request.source.value
    if request.name:
        check_name(request.name, request.device)
    holder = view.holder(request.device)
    if holder is not None and holder.pod.id == view.pod.id:
        wanted = request.name or holder.host.name
        if wanted not in (holder.name, holder.wanted):
            raise _two_names(holder.host.name, (holder.name, holder.sources), (wanted, (source,)))
        return MergedRequest(holder.host.name, holder.wanted, (source,), attachment=holder)
    if request.source is Source.ANNOTATION and (link is None or link.name not in earlier):
        _check_policy(request.device, link, holder, view)
    if link is not None:
        wanted = request.name or link.name
        check_name(wanted, link.name)
        return MergedRequest(link.name, wanted, (source,), link=link)
    if holder is not None:
        raise held_by(holder, request.device)
    raise CrishimError(
        Kind.NOT_FOUND, f"there is no network device {request.device} on the host", device=request.device
    )


def _check_policy(device: str, link: Link | None, holder: Attachment | None, view: RequestContext) -> None:
    """Raise DENIED unless policy gives the device to the pod; also if another pod has it or it does not exist."""
    if link is not None:
        view.terms.policy.check(device, view.pod, link.names, link.kind)
    elif holder is not None:
        view.terms.policy.check(device, view.pod, (holder.host.name, *holder.host.altnames), holder.host.kind)
    else:
        view.terms.policy.check(device, view.pod, (device,), None)


def _two_names(device: str, first: tuple[str, Sequence[str]], second: tuple[str, Sequence[str]]) -> CrishimError:
    return CrishimError(
        Kind.PRECONDITION,
        f"device {device} is asked for under two names: {first[0]} ({first[1][0]}) and {second[0]} ({second[1][0]})",
        device=device,
        names=[first[0], second[0]],
    )


def _check_distinct(merged_requests: Sequence[MergedRequest]) -> None:
    first: dict[str, MergedRequest] = {}
    for merged in merged_requests:
        other = first.setdefault(merged.wanted, merged)
        if other is not merged and TEMPLATE not in merged.wanted:
            raise CrishimError(
                Kind.PRECONDITION,
                f"devices {other.device} ({other.sources[0]}) and {merged.device} ({merged.sources[0]}) "
                f"both want the name {merged.wanted}",
                devices=[other.device, merged.device],
                name=merged.wanted,
            )


def _altnames(link: Link, view: RequestContext) -> str:
    taken = {name for x in view.pod_links for name in x.names}
    clash = [name for name in link.altnames if name in taken]
    return f"its alternative name {clash[0]} is taken in the pod" if clash else ""


def assign_names(merged_requests: Sequence[MergedRequest], view: RequestContext) -> list[tuple[MergedRequest, str]]:
    """The devices to move, each with its final name, after every check. Raises PRECONDITION, INVALID, ABORTED."""
    scene = view.scene
    taken = {name: x.name for x in view.pod_links for name in x.names}
    chosen: list[tuple[MergedRequest, str]] = []
    fixed_first = sorted(merged_requests, key=lambda w: TEMPLATE in w.wanted)
    for merged in fixed_first:
        if merged.link is None:
            continue
        allowed = view.terms.allow_node_device and not merged.by_annotation
        problem = link_checks.reason(merged.link, scene, node_device_allowed=allowed) or _altnames(merged.link, view)
        if problem:
            raise CrishimError(
                Kind.PRECONDITION,
                f"device {merged.device} cannot be given to pod {view.pod}: {problem}",
                device=merged.device,
            )
        name = expand(merged.wanted, taken, merged.device)
        if name in taken:
            raise CrishimError(
                Kind.PRECONDITION,
                f"device {merged.device} cannot be {name} in pod {view.pod}: {_owner(name, taken[name], view)} is",
                device=merged.device,
                name=name,
            )
        taken[name] = merged.device
        chosen.append((merged, name))
    return chosen


def _owner(name: str, link: str, view: RequestContext) -> str:
    for attachment in view.attachments:
        if attachment.pod.id == view.pod.id and attachment.name == link:
            return f"device {attachment.host.name}"
    return f"interface {link}" if link != name else "an interface of the pod"
