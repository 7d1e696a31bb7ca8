"""Requests as clients send them, and short ways through a pod's life."""

import itertools
import json
from typing import Any

from crishim.pb import cri_pb2 as cri
from tests.support.daemon import IMAGE, Daemon, eventually

_numbers = itertools.count()
SLEEP = ["sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done"]


def pod_config(name: str = "", attempt: int = 0, **fields: Any) -> cri.PodSandboxConfig:
    """A pod as the kubelet asks for it: own PID namespace for each container."""
    name = name or f"pod{next(_numbers)}"
    metadata = cri.PodSandboxMetadata(name=name, namespace="test", uid=f"uid-{name}", attempt=attempt)
    config = cri.PodSandboxConfig(metadata=metadata, **fields)
    if not config.HasField("linux"):
        config.linux.security_context.namespace_options.pid = cri.CONTAINER
    return config


def container_config(
    name: str = "c", attempt: int = 0, command: list[str] | None = None, **fields: Any
) -> cri.ContainerConfig:
    config = cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=name, attempt=attempt),
        image=cri.ImageSpec(image=IMAGE),
        command=SLEEP if command is None else command,
        **fields,
    )
    if not config.linux.security_context.HasField("namespace_options"):
        config.linux.security_context.namespace_options.pid = cri.CONTAINER
    return config


def annotated(**devices: str) -> dict[str, str]:
    """The pod annotation that asks for host devices by their name in the pod."""
    wanted = {host: {"name": name} for host, name in devices.items()}
    return {"netdevices.crishim.io/pod": json.dumps(wanted)}


def run_pod(daemon: Daemon, config: cri.PodSandboxConfig | None = None, handler: str = "") -> str:
    config = config or pod_config()
    answer = daemon.call("RunPodSandbox", config=config, runtime_handler=handler)
    return str(answer.pod_sandbox_id)


def create(daemon: Daemon, pod: str, config: cri.ContainerConfig | None = None, sandbox: Any = None) -> str:
    answer = daemon.call(
        "CreateContainer",
        pod_sandbox_id=pod,
        config=config or container_config(),
        sandbox_config=sandbox or pod_config(),
    )
    return str(answer.container_id)


def start(daemon: Daemon, pod: str, config: cri.ContainerConfig | None = None) -> str:
    """Create and start; the id."""
    container = create(daemon, pod, config)
    daemon.call("StartContainer", container_id=container)
    return container


def status(daemon: Daemon, container: str) -> cri.ContainerStatus:
    found: cri.ContainerStatus = daemon.call("ContainerStatus", container_id=container).status
    return found


def wait_exited(daemon: Daemon, container: str) -> cri.ContainerStatus:
    """The status once the container has ended."""
    eventually(lambda: status(daemon, container).state == cri.CONTAINER_EXITED, f"{container[:13]} has exited")
    return status(daemon, container)


def execute(daemon: Daemon, container: str, *command: str, timeout: int = 10) -> tuple[int, str]:
    """(exit code, stdout) of an ExecSync."""
    answer = daemon.call("ExecSync", container_id=container, cmd=command, timeout=timeout)
    return answer.exit_code, answer.stdout.decode()


def remove_pod(daemon: Daemon, pod: str) -> None:
    daemon.call("StopPodSandbox", pod_sandbox_id=pod)
    daemon.call("RemovePodSandbox", pod_sandbox_id=pod)
