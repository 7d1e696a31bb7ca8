"""The `info` of verbose Status RPCs: JSON for people and for tools such as `crictl inspect`."""

import contextlib
from pathlib import Path
from typing import Any

import msgspec
from google.protobuf.json_format import MessageToDict

from crishim.cri.netdevice_facts import facts
from crishim.decoding import NOT_JSON
from crishim.linux import executors
from crishim.model import ContainerRecord, PodRecord
from crishim.node import Node
from crishim.pb import cri_pb2 as cri


def describe_pod(node: Node, pod: PodRecord) -> dict[str, Any]:
    """State, namespaces, CNI result, the network devices beside eth0, and the last result of CNI CHECK."""
    info: dict[str, Any] = {
        "state": str(pod.state),
        "pid": pod.init.pid if pod.init else 0,
        "namespaces": msgspec.to_builtins(pod.namespaces),
        "cgroupParent": pod.cgroup_parent,
        "netDevices": [facts(a, node.netdevices.presence(a)) for a in node.netdevices.attachments(pod.id)],
    }
    for name, message in (("overhead", pod.overhead), ("resources", pod.resources)):
        if message:  # of UpdatePodSandboxResources: the pod's status has no field for them
            info[name] = MessageToDict(cri.LinuxContainerResources.FromString(message))
    if pod.network is not None:
        info["cniNetwork"] = pod.network.name
        info["cniResult"] = msgspec.json.decode(pod.network.result or b"null")
        check = node.networks.last_check(pod.id)
        if check is not None:
            found = check.skipped or "; ".join(check.errors) or "ok"
            info["cniCheck"] = {"found": found, "at": check.at}
    return info


async def describe_container(node: Node, container: ContainerRecord) -> str:
    """JSON: state, processes, and the OCI runtime spec from config.json, if the bundle exists."""
    info: dict[str, Any] = {
        "state": str(container.state),
        "sandboxID": container.pod_id,
        "pid": container.process.pid if container.process else 0,
        "monitorPid": container.monitor.pid if container.monitor else 0,
        "runtimeHandler": container.handler,
        "cgroup": container.cgroup,
    }
    with contextlib.suppress(FileNotFoundError, *NOT_JSON):
        spec = await executors.records(_read_json, node.launcher.bundle(container.id) / "config.json")
        info["runtimeSpec"] = msgspec.Raw(spec)
    return msgspec.json.encode(info).decode()


def _read_json(path: Path) -> bytes:
    """Read a file and check that it is JSON. Blocks. Raises OSError or one of NOT_JSON."""
    data = path.read_bytes()
    msgspec.json.decode(data)
    return data
