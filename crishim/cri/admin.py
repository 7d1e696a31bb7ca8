"""The RPCs of crishim's own service: devices and networks of running pods, NRI plugins, and images from archives."""

import asyncio
import time

import msgspec

from crishim.cni.network import Check
from crishim.cri.netdevice_facts import facts
from crishim.cri.pods import visible
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import PodState
from crishim.model import PodRecord
from crishim.netdev.driver import NetDevices
from crishim.netdev.host_list import HostLink
from crishim.netdev.presence import ATTACHED, Presence
from crishim.netdev.records import Attachment, DeviceRequest, Source
from crishim.node import Node
from crishim.nri.plugins import PluginStatus
from crishim.operations.check_pod import check_pod
from crishim.operations.detach_device import detach_device
from crishim.operations.import_image import import_image
from crishim.operations.stop_pod import device_pod
from crishim.pb import admin_pb2 as admin
from crishim.traces import MOST_PODS, PodStart

CHECKED_AT_ONCE = 2  # pods; each is locked while its plugins run, and one may hang: the rest can be stopped meanwhile


async def ListNetDevices(node: Node, request: admin.ListNetDevicesRequest) -> admin.ListNetDevicesResponse:
    pod_id = visible(node.pods, request.pod_sandbox_id).id if request.pod_sandbox_id else ""
    return admin.ListNetDevicesResponse(
        devices=[describe(a, node.netdevices.presence(a)) for a in node.netdevices.attachments(pod_id)]
    )


async def ListHostLinks(node: Node, request: admin.ListHostLinksRequest) -> admin.ListHostLinksResponse:
    links = await node.netdevices.host_links()
    return admin.ListHostLinksResponse(links=[describe_link(x, node.netdevices) for x in links])


async def AttachNetDevice(node: Node, request: admin.AttachNetDeviceRequest) -> admin.AttachNetDeviceResponse:
    pod = _ready(node, request.pod_sandbox_id)
    device_request = DeviceRequest(
        device=request.device, name=request.name, source=Source.COMMAND, origin="crishim netdev attach"
    )
    async with node.locks.holding(pod.id):
        attachment = await node.netdevices.attach(device_pod(_ready(node, pod.id)), device_request)
    return admin.AttachNetDeviceResponse(device=describe(attachment))


async def DetachNetDevice(node: Node, request: admin.DetachNetDeviceRequest) -> admin.DetachNetDeviceResponse:
    pod = _ready(node, request.pod_sandbox_id)
    ended = await detach_device(node, pod.id, request.device)
    if isinstance(ended, Attachment):
        return admin.DetachNetDeviceResponse(device=describe(ended))
    device = admin.NetDevice(host_name=ended[0], name=ended[1], pod_sandbox_id=pod.id, pod=str(device_pod(pod)))
    device.state, device.details, device.since = "done", "{}", time.time_ns()
    return admin.DetachNetDeviceResponse(device=device)


async def ListNriPlugins(node: Node, request: admin.ListNriPluginsRequest) -> admin.ListNriPluginsResponse:
    return admin.ListNriPluginsResponse(plugins=[describe_plugin(status) for status in node.nri.status()])


async def CheckPods(node: Node, request: admin.CheckPodsRequest) -> admin.CheckPodsResponse:
    if request.pod_sandbox_id:
        pod = _ready(node, request.pod_sandbox_id)
        return admin.CheckPodsResponse(pods=[describe_check(pod, await check_pod(node, pod.id))])
    pods = sorted((p for p in node.pods if p.state is PodState.READY), key=lambda p: p.created_at)
    semaphore = asyncio.Semaphore(CHECKED_AT_ONCE)
    found = await asyncio.gather(*(_checked(node, pod, semaphore) for pod in pods))
    return admin.CheckPodsResponse(pods=[check for check in found if check is not None])


async def _checked(node: Node, pod: PodRecord, semaphore: asyncio.Semaphore) -> admin.PodCheck | None:
    """None if the pod is stopped or removed before its check."""
    try:
        async with semaphore:
            return describe_check(pod, await check_pod(node, pod.id))
    except CrishimError as error:
        if error.kind in (Kind.PRECONDITION, Kind.NOT_FOUND):
            return None
        raise


async def ImportImages(node: Node, request: admin.ImportImagesRequest) -> admin.ImportImagesResponse:
    found = await import_image(request.path, request.name, transport=node.transport)
    return admin.ImportImagesResponse(
        images=[admin.ImportImagesResponse.Image(id=i.id, repo_tags=i.repo_tags) for i in found]
    )


async def ListPulls(node: Node, request: admin.ListPullsRequest) -> admin.ListPullsResponse:
    pulls = await node.transport.pulls.now()
    return admin.ListPullsResponse(
        pulls=[admin.Pull(image=p.image, since=p.since, fetched=p.fetched, total=p.total) for p in pulls]
    )


async def ListPodStarts(node: Node, request: admin.ListPodStartsRequest) -> admin.ListPodStartsResponse:
    if not request.pod:
        return admin.ListPodStartsResponse(starts=map(describe_start, node.traces))
    start = node.traces.find(request.pod)
    if start is None:
        text = f"no start of a pod {request.pod!r} is kept: there are those of the last {MOST_PODS} pods of this daemon"
        raise CrishimError(Kind.NOT_FOUND, text)
    return admin.ListPodStartsResponse(starts=[describe_start(start)])


def _ready(node: Node, id: str) -> PodRecord:
    pod = visible(node.pods, id)
    if pod.state is not PodState.READY:
        raise CrishimError(Kind.PRECONDITION, f"pod sandbox {pod.id[:13]} is not ready", pod=pod.id)
    return pod


def describe(attachment: Attachment, now: Presence = ATTACHED) -> admin.NetDevice:
    """now: the device's conditions in its pod."""
    return admin.NetDevice(
        host_name=attachment.host.name,
        name=attachment.name,
        pod_sandbox_id=attachment.pod.id,
        pod=str(attachment.pod),
        addresses=attachment.addresses,
        state=f"{attachment.status}, {now}" if str(now) else attachment.status,
        sources=attachment.sources,
        since=attachment.since,
        details=msgspec.json.encode(facts(attachment, now)).decode(),
    )


def describe_link(link: HostLink, netdevices: NetDevices) -> admin.HostLink:
    state = admin.HostLink.GIVEN if link.holder else admin.HostLink.NEVER if link.reason else admin.HostLink.FREE
    return admin.HostLink(
        name=_printable(link.name),
        altnames=map(_printable, link.altnames),
        kind=link.kind,
        state=state,
        grants=[admin.HostLink.Grant(rule=g.rule, namespaces=g.namespaces) for g in link.grants],
        reason=_printable(link.reason or link.root_only),
        device=describe(link.holder, netdevices.presence(link.holder)) if link.holder else None,
    )


def describe_check(pod: PodRecord, check: Check) -> admin.PodCheck:
    return admin.PodCheck(
        pod_sandbox_id=pod.id,
        pod=str(device_pod(pod)),
        network=pod.network.name if pod.network else "",
        answers=[admin.PodCheck.Answer(**a._asdict()) for a in check.answers],
        skipped=check.skipped,
        at=check.at,
    )


def describe_start(start: PodStart) -> admin.PodStart:
    calls = [
        admin.TracedCall(
            rpc=call.name,
            id=call.id,
            trace_id=f"{call.trace_id:032x}",
            code=call.code,
            began=call.began,
            ended=call.ended,
            spans=[admin.TracedCall.Span(**span._asdict()) for span in call.spans],
        )
        for call in start.calls
    ]
    return admin.PodStart(pod_sandbox_id=start.pod, pod=start.name, calls=calls)


def describe_plugin(status: PluginStatus) -> admin.NriPlugin:
    counters = status.counters
    return admin.NriPlugin(
        name=_printable(status.name),
        index=status.index,
        state=_printable(status.state),
        pid=status.pid,
        launched=_printable(status.launched),
        events=status.events,
        since=status.since,
        calls=counters.calls,
        refused=counters.refused,
        unanswered=counters.unanswered,
        seconds=counters.seconds,
        longest=counters.longest,
    )


def _printable(name: str) -> str:
    """Replace what is not UTF-8, which protobuf requires: names in the kernel may have any bytes."""
    return name.encode(errors="surrogateescape").decode(errors="replace")
