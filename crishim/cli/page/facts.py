"""Select what the page shows of the daemon's responses, whatever they contain. Pure.

Environment and annotations of containers are not shown: they may have secrets.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from crishim.cli.page.device_states import AttachmentHistory
from crishim.pb import admin_pb2 as admin
from crishim.pb import cri_pb2 as cri

MOST_PODS = 200  # shown: the newest


class Answers(NamedTuple):
    """The daemon's responses. details: of the shown pods, by id."""

    version: cri.VersionResponse
    status: cri.StatusResponse
    pods: Sequence[cri.PodSandbox]
    details: Mapping[str, cri.PodSandboxStatusResponse]
    containers: Sequence[cri.Container]
    devices: Sequence[admin.NetDevice]
    links: Sequence[admin.HostLink]
    starts: Sequence[admin.PodStart]


class Container(NamedTuple):
    """state: created, running, exited, unknown. attempt: how often it was recreated."""

    id: str
    name: str
    attempt: int
    state: str
    image: str
    exit_code: int | None
    reason: str


class DeviceFacts(NamedTuple):
    """status: the state with conditions, as text. state: without them."""

    host_name: str
    name: str
    state: str
    status: str
    addresses: tuple[str, ...]
    sources: tuple[str, ...]
    pod_id: str
    pod: str
    seen: tuple[tuple[str, int], ...]


class PodFacts(NamedTuple):
    """namespaces: kind, and path or owner. links: names of the host's links its eth0 is connected to."""

    id: str
    name: str
    attempt: int
    is_ready: bool
    created: int
    addresses: tuple[str, ...]
    namespaces: tuple[tuple[str, str], ...]
    network: str
    links: tuple[str, ...]
    devices: tuple[DeviceFacts, ...]
    containers: tuple[Container, ...]

    @property
    def has_own_network(self) -> bool:
        return bool(dict(self.namespaces).get("net", "").startswith("/"))


class LinkFacts(NamedTuple):
    """state: free, given, never. note: to which pods, or why not."""

    name: str
    kind: str
    state: str
    note: str


class Start(NamedTuple):
    """A pod's start. ns: the sum of its calls' durations. failed: gRPC codes of the failed ones."""

    pod_id: str
    pod: str
    calls: int
    ns: int
    failed: str


class NodeFacts(NamedTuple):
    """silence: why the daemon does not answer, "" if it does; if not, the rest is of its last response."""

    silence: str = ""
    version: str = ""
    conditions: tuple[tuple[str, str], ...] = ()  # the false ones, and why
    pods: tuple[PodFacts, ...] = ()
    left_out: int = 0  # pods
    links: tuple[LinkFacts, ...] = ()
    devices: tuple[DeviceFacts, ...] = ()
    ended: tuple[AttachmentHistory, ...] = ()  # ended attachments, the latest first
    starts: tuple[Start, ...] = ()  # the latest first
    events: tuple[str, ...] = ()  # the latest first


def shown_pods(pods: Iterable[cri.PodSandbox]) -> list[cri.PodSandbox]:
    """The newest pods, sorted by name."""
    newest = sorted(pods, key=lambda p: p.created_at, reverse=True)[:MOST_PODS]
    return sorted(newest, key=lambda p: (p.metadata.namespace, p.metadata.name, p.created_at))


def read(answers: Answers, ways: Iterable[AttachmentHistory] = (), events: Iterable[str] = ()) -> NodeFacts:
    """All facts for the page."""
    ways = list(ways)
    devices = tuple(_device(d, ways) for d in answers.devices)
    pods = shown_pods(answers.pods)
    return NodeFacts(
        version=f"{answers.version.runtime_name} {answers.version.runtime_version}",
        conditions=tuple((c.type, c.message or c.reason) for c in answers.status.status.conditions if not c.status),
        pods=tuple(_pod(p, answers, devices) for p in pods),
        left_out=len(answers.pods) - len(pods),
        links=tuple(map(_link, answers.links)),
        devices=devices,
        ended=tuple(reversed([way for way in ways if way.is_over])),
        starts=tuple(_start(s) for s in reversed(answers.starts)),
        events=tuple(events),
    )


def _pod(pod: cri.PodSandbox, answers: Answers, devices: Iterable[DeviceFacts]) -> PodFacts:
    details = answers.details.get(pod.id, cri.PodSandboxStatusResponse())
    info = _json(details.info.get("info", ""))
    network = details.status.network
    mine = [c for c in answers.containers if c.pod_sandbox_id == pod.id]
    ended = {c.id: c for c in details.containers_statuses if c.state == cri.CONTAINER_EXITED}
    return PodFacts(
        id=pod.id,
        name=f"{pod.metadata.namespace}/{pod.metadata.name}",
        attempt=pod.metadata.attempt,
        is_ready=pod.state == cri.SANDBOX_READY,
        created=pod.created_at,
        addresses=tuple(filter(None, (network.ip, *(ip.ip for ip in network.additional_ips)))),
        namespaces=_namespaces(info, details.status),
        network=str(info.get("cniNetwork", "")),
        links=_cni_links(info),
        devices=tuple(d for d in devices if d.pod_id == pod.id),
        containers=tuple(
            _container(c, ended.get(c.id)) for c in sorted(mine, key=lambda c: (c.metadata.name, c.created_at))
        ),
    )


_WHOSE = {cri.CONTAINER: "each container's own", cri.TARGET: "another container's"}


def _namespaces(info: Mapping[str, Any], status: cri.PodSandboxStatus) -> tuple[tuple[str, str], ...]:
    found = info.get("namespaces")
    if not isinstance(found, dict):
        return ()
    options = status.linux.namespaces.options
    whose = {"pid": _WHOSE.get(options.pid), "ipc": _WHOSE.get(options.ipc)}  # others: the pod's or the node's
    kinds = ("net", "ipc", "uts", "pid", "user")
    return tuple((kind, str(found.get(kind) or whose.get(kind) or "the node's")) for kind in kinds)


def _cni_links(info: Mapping[str, Any]) -> tuple[str, ...]:
    """The CNI result's interfaces on the host: bridge and veth, or the veth alone (CNI SPEC, Result)."""
    result = info.get("cniResult")
    interfaces = result.get("interfaces") if isinstance(result, dict) else None
    found = interfaces if isinstance(interfaces, list) else []
    return tuple(str(i.get("name", "")) for i in found if isinstance(i, dict) and not i.get("sandbox"))


def _container(container: cri.Container, ended: cri.ContainerStatus | None) -> Container:
    return Container(
        id=container.id,
        name=container.metadata.name,
        attempt=container.metadata.attempt,
        state=cri.ContainerState.Name(container.state).removeprefix("CONTAINER_").lower(),
        image=container.image.user_specified_image or container.image.image,
        exit_code=ended.exit_code if ended else None,
        reason=ended.reason if ended else "",
    )


def _device(device: admin.NetDevice, ways: Sequence[AttachmentHistory]) -> DeviceFacts:
    state = str(_json(device.details).get("state", "")) or device.state.partition(",")[0]
    mine = (w for w in reversed(ways) if (w.pod_id, w.host_name) == (device.pod_sandbox_id, device.host_name))
    way = next(mine, None)
    return DeviceFacts(
        host_name=device.host_name,
        name=device.name,
        state=state,
        status=device.state,
        addresses=tuple(device.addresses),
        sources=tuple(device.sources),
        pod_id=device.pod_sandbox_id,
        pod=device.pod,
        seen=way.seen if way and not way.is_over else (),
    )


def _link(link: admin.HostLink) -> LinkFacts:
    note = link.reason
    if link.state == admin.HostLink.GIVEN:
        note = f"pod {link.device.pod} has it as {link.device.name}"
    elif link.grants:
        patterns = dict.fromkeys(name for grant in link.grants for name in grant.namespaces)
        note = f"pods of {', '.join(patterns)} may ask for it"
    return LinkFacts(link.name, link.kind, admin.HostLink.State.Name(link.state).lower(), note)


def _start(start: admin.PodStart) -> Start:
    failed = sorted({call.code for call in start.calls} - {"OK"})
    spent = sum(call.ended - call.began for call in start.calls)
    return Start(start.pod_sandbox_id, start.pod, len(start.calls), spent, ", ".join(failed))


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
