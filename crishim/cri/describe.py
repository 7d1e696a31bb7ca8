"""What verbose Status RPCs tell beyond the status: JSON for people and for tools such as `crictl inspect`."""

import asyncio
import contextlib
from typing import Any

import msgspec
from google.protobuf.json_format import MessageToDict

from crishim.cri.netdevice_facts import facts
from crishim.decoding import NOT_JSON
from crishim.errors import CrishimError
from crishim.lifecycle import PodState
from crishim.linux import async_files
from crishim.model import ContainerRecord, PodRecord
from crishim.node import Node
from crishim.pb import cri_pb2 as cri

CHECK_TIMEOUT = 5.0  # seconds CNI CHECK may hold up an answer


async def describe_pod(node: Node, pod: PodRecord) -> dict[str, Any]:
    """State, namespaces, CNI result, what CNI CHECK says of it now, and the network devices beside eth0."""
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
        if pod.state is PodState.READY:
            info["cniCheck"] = await _checked(node, pod)
    return info


async def _checked(node: Node, pod: PodRecord) -> str:
    """ "ok", or what the plugins find wrong with the pod's network: rules flushed, a link removed by hand."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            await node.networks.check(pod)
    except CrishimError as error:
        return error.message
    except TimeoutError:
        return f"the plugins did not answer within {CHECK_TIMEOUT:g} s"
    return "ok"


async def describe_container(node: Node, container: ContainerRecord) -> dict[str, Any]:
    """State, processes, and the OCI runtime spec while there is one."""
    info: dict[str, Any] = {
        "state": str(container.state),
        "sandboxID": container.pod_id,
        "pid": container.process.pid if container.process else 0,
        "monitorPid": container.monitor.pid if container.monitor else 0,
        "runtimeHandler": container.handler,
        "cgroup": container.cgroup,
    }
    with contextlib.suppress(FileNotFoundError, *NOT_JSON):
        path = node.launcher.bundle(container.id) / "config.json"
        info["runtimeSpec"] = msgspec.json.decode(await async_files.read(path))
    return info
