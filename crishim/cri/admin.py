"""The RPCs of crishim's own service: network devices of running pods, and images from archives."""

from collections.abc import Iterable

import msgspec

from crishim.cri.pods import visible
from crishim.cri.server import Functions
from crishim.errors import CrishimError, Kind
from crishim.images.transport import Transport
from crishim.lifecycle import PodState
from crishim.model import PodRecord
from crishim.netdev.attach import NetDevices
from crishim.netdev.host_list import HostLink
from crishim.netdev.records import Attachment, Request, Source
from crishim.pb import admin_pb2 as admin
from crishim.state.locks import Locks
from crishim.state.store import Store
from crishim.verbs.import_image import import_image
from crishim.verbs.stop_pod import device_pod


def functions(*, devices: NetDevices, pods: Store[PodRecord], locks: Locks, transport: Transport) -> Functions:
    def ready(id: str) -> PodRecord:
        pod = visible(pods, id)
        if pod.state is not PodState.READY:
            raise CrishimError(Kind.PRECONDITION, f"pod sandbox {pod.id[:13]} is not ready", pod=pod.id)
        return pod

    async def list_all(request: admin.ListNetDevicesRequest) -> admin.ListNetDevicesResponse:
        pod_id = visible(pods, request.pod_sandbox_id).id if request.pod_sandbox_id else ""
        return admin.ListNetDevicesResponse(devices=[describe(a) for a in devices.attachments(pod_id)])

    async def list_host(_: admin.ListHostLinksRequest) -> admin.ListHostLinksResponse:
        return admin.ListHostLinksResponse(links=[describe_link(x) for x in await devices.host_links()])

    async def attach(request: admin.AttachNetDeviceRequest) -> admin.AttachNetDeviceResponse:
        pod = ready(request.pod_sandbox_id)
        wish = Request(device=request.device, name=request.name, source=Source.COMMAND, origin="crishim netdev attach")
        async with locks.holding(pod.id):
            attachment = await devices.attach(device_pod(ready(pod.id)), wish)
        return admin.AttachNetDeviceResponse(device=describe(attachment))

    async def detach(request: admin.DetachNetDeviceRequest) -> admin.DetachNetDeviceResponse:
        pod = ready(request.pod_sandbox_id)
        async with locks.holding(pod.id):
            attachment = await devices.detach(device_pod(ready(pod.id)), request.device)
        return admin.DetachNetDeviceResponse(device=describe(attachment))

    async def import_images(request: admin.ImportImagesRequest) -> admin.ImportImagesResponse:
        found = await import_image(request.path, request.name, transport=transport)
        return admin.ImportImagesResponse(
            images=[admin.ImportImagesResponse.Image(id=i.id, repo_tags=i.repo_tags) for i in found]
        )

    return {
        "ListNetDevices": list_all,
        "ListHostLinks": list_host,
        "AttachNetDevice": attach,
        "DetachNetDevice": detach,
        "ImportImages": import_images,
    }


def describe(attachment: Attachment) -> admin.NetDevice:
    return admin.NetDevice(
        host_name=attachment.host.name,
        name=attachment.name,
        pod_sandbox_id=attachment.pod.id,
        pod=str(attachment.pod),
        addresses=attachment.addresses,
        state=attachment.status,
        sources=attachment.sources,
        since=attachment.since,
        details=msgspec.json.encode(facts(attachment)).decode(),
    )


def describe_link(link: HostLink) -> admin.HostLink:
    state = admin.HostLink.GIVEN if link.holder else admin.HostLink.NEVER if link.reason else admin.HostLink.FREE
    return admin.HostLink(
        name=_printable(link.name),
        altnames=map(_printable, link.altnames),
        kind=link.kind,
        state=state,
        grants=[admin.HostLink.Grant(rule=g.rule, namespaces=g.namespaces) for g in link.grants],
        reason=_printable(link.reason or link.root_only),
        device=describe(link.holder) if link.holder else None,
    )


def _printable(name: str) -> str:
    """The kernel takes any bytes as a name; protobuf takes UTF-8."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def facts(attachment: Attachment) -> dict[str, object]:
    """What is worth showing of an attachment, JSON-ready."""
    return {
        "name": attachment.name,
        "hostName": attachment.host.name,
        "ifindex": attachment.index,
        "mac": attachment.host.mac.hex(":"),
        "mtu": attachment.host.mtu,
        "kind": attachment.host.kind,
        "addresses": list(attachment.addresses),
        "state": str(attachment.state),
        "mover": str(attachment.mover),
        "sources": list(attachment.sources),
        "pod": attachment.pod.id,
        "podName": str(attachment.pod),
        "since": attachment.since,
        "warnings": list(attachment.warnings),
        "reason": attachment.reason,
    }


def all_facts(attachments: Iterable[Attachment]) -> list[dict[str, object]]:
    return [facts(a) for a in attachments]
