"""A node's answers, with one text wherever a client of the CRI or a stranger may choose it."""

import json

from crishim.cli.page.device_states import AttachmentHistory
from crishim.cli.page.facts import Answers
from crishim.pb import admin_pb2 as admin
from crishim.pb import cri_pb2 as cri

POD, OTHER, CONTAINER = "a" * 64, "b" * 64, "c" * 64
NOON = 1_795_953_600_000_000_000  # 2026-11-29T12:00:00Z
MS = 1_000_000
SECRET = "s3cr3t-of-an-annotation"


def answers(text: str = "x") -> Answers:
    """Two pods, one with a network, a device and a container that was restarted and has ended."""
    device = net_device(text)
    not_ready = cri.RuntimeCondition(type="RuntimeReady", status=False, message=text)
    return Answers(
        version=cri.VersionResponse(runtime_name="crishim", runtime_version="0.2"),
        status=cri.StatusResponse(status=cri.RuntimeStatus(conditions=[not_ready])),
        pods=[sandbox(POD, text), sandbox(OTHER, f"{text}2", ready=False)],
        details={POD: details(text), OTHER: cri.PodSandboxStatusResponse()},
        containers=[container(text)],
        devices=[device],
        links=[
            admin.HostLink(name=f"{text}br", kind="bridge", state=admin.HostLink.FREE, reason=text),
            admin.HostLink(name=text, kind="veth", state=admin.HostLink.GIVEN, device=device),
            admin.HostLink(
                name="lo", kind="physical", state=admin.HostLink.NEVER, reason="it is the loopback interface"
            ),
        ],
        starts=[start(text)],
    )


def sandbox(id: str, text: str, *, ready: bool = True) -> cri.PodSandbox:
    return cri.PodSandbox(
        id=id,
        metadata=cri.PodSandboxMetadata(name=text, namespace=text, uid=text),
        state=cri.SANDBOX_READY if ready else cri.SANDBOX_NOTREADY,
        created_at=NOON,
        annotations={"token": SECRET},
        labels={"token": SECRET},
    )


def details(text: str) -> cri.PodSandboxStatusResponse:
    pins = {kind: f"/run/crishim/pods/{POD}/ns/{kind}" for kind in ("net", "ipc", "uts")}
    interfaces = [{"name": f"{text}br"}, {"name": f"{text}veth"}, {"name": "eth0", "sandbox": pins["net"]}]
    info = {
        "namespaces": {**pins, "pid": "", "user": ""},
        "cniNetwork": text,
        "cniResult": {"interfaces": interfaces},
    }
    found = cri.PodSandboxStatusResponse(info={"info": json.dumps(info)})
    found.status.network.ip = text
    found.status.linux.namespaces.options.pid = cri.CONTAINER
    found.status.annotations["token"] = SECRET
    found.containers_statuses.append(
        cri.ContainerStatus(id=CONTAINER, state=cri.CONTAINER_EXITED, exit_code=3, reason=text, message=text)
    )
    return found


def container(text: str) -> cri.Container:
    return cri.Container(
        id=CONTAINER,
        pod_sandbox_id=POD,
        metadata=cri.ContainerMetadata(name=text, attempt=2),
        image=cri.ImageSpec(image=text),
        state=cri.CONTAINER_EXITED,
        created_at=NOON,
        annotations={"token": SECRET},
    )


def net_device(text: str = "x", state: str = "ready") -> admin.NetDevice:
    return admin.NetDevice(
        host_name=text,
        name=text,
        pod_sandbox_id=POD,
        pod=text,
        addresses=[text],
        state=f"{state}, renamed {text}",
        sources=[text],
        details=json.dumps({"state": state}),
    )


def start(text: str) -> admin.PodStart:
    call = admin.TracedCall(rpc="RunPodSandbox", id=1, code="OK", began=NOON, ended=NOON + 80 * MS)
    call.spans.append(admin.TracedCall.Span(name=text, id=2, parent=1, began=NOON, ended=NOON + MS))
    return admin.PodStart(pod_sandbox_id=POD, pod=text, calls=[call])


def way(text: str = "x", *states: str) -> AttachmentHistory:
    """A way through the states, ten milliseconds each."""
    seen = tuple((state, NOON + number * 10 * MS) for number, state in enumerate(states))
    return AttachmentHistory("0123456789abcdef", text, text, POD, text, seen)


def change(state: str, at: int, id: str = "1") -> admin.NetDeviceChange:
    return admin.NetDeviceChange(id=id, host_name="x", name="x", pod_sandbox_id=POD, pod="x", state=state, at=at)
