"""Pod sandboxes: status, lists, names, failures of the network."""

import json

import grpc
import pytest

from crishim.linux import cgroups
from crishim.pb import cri_pb2 as cri
from tests.support.daemon import Daemon
from tests.support.pods import container_config, create, pod_config, remove_pod, run_pod, start, wait_exited

pytestmark = pytest.mark.node
Code = grpc.StatusCode


def refusal(daemon: Daemon, config: cri.PodSandboxConfig, handler: str = "") -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        run_pod(daemon, config, handler)
    return caught.value.code(), caught.value.details()


@pytest.mark.fact("PodSandboxStatus", "events carry pod metadata")
def test_pod_status_has_what_peers_leave_out(daemon: Daemon) -> None:
    """PodSandboxStatus: containers_statuses with ended and created ones, a timestamp, and the runtime handler."""
    pod = run_pod(daemon, handler="runc")
    ended = start(daemon, pod, container_config("ended", command=["sh", "-c", "exit 4"]))
    wait_exited(daemon, ended)
    runs = start(daemon, pod, container_config("runs"))
    waits = create(daemon, pod, container_config("waits"))
    first = daemon.call("PodSandboxStatus", pod_sandbox_id=pod)
    assert first.status.runtime_handler == "runc"
    assert {c.id: c.state for c in first.containers_statuses} == {
        ended: cri.CONTAINER_EXITED,
        runs: cri.CONTAINER_RUNNING,
        waits: cri.CONTAINER_CREATED,
    }
    assert {c.exit_code for c in first.containers_statuses if c.id == ended} == {4}
    second = daemon.call("PodSandboxStatus", pod_sandbox_id=pod)
    assert 0 < first.timestamp < second.timestamp
    assert list(first.containers_statuses) == [
        daemon.call("ContainerStatus", container_id=c.id).status for c in first.containers_statuses
    ]
    remove_pod(daemon, pod)


@pytest.mark.fact("PodSandboxStatus", "pod IP and network mode")
def test_pod_status_echoes(daemon: Daemon) -> None:
    """PodSandboxStatus: metadata, labels, annotations and namespace options as given; ip is not in additional_ips."""
    config = pod_config(labels={"l": "1"}, annotations={"a": "2"}, hostname="echo")
    config.linux.security_context.namespace_options.ipc = cri.POD
    pod = run_pod(daemon, config)
    found = daemon.call("PodSandboxStatus", pod_sandbox_id=pod).status
    assert (found.metadata, found.labels, found.annotations) == (config.metadata, config.labels, config.annotations)
    assert found.linux.namespaces.options == config.linux.security_context.namespace_options
    assert found.network.ip not in [a.ip for a in found.network.additional_ips]
    (listed,) = daemon.call("ListPodSandbox").items
    assert (listed.created_at, listed.metadata) == (found.created_at, found.metadata)
    remove_pod(daemon, pod)


@pytest.mark.fact("ListPodSandbox")
@pytest.mark.parametrize("handler", ["", "crun", "runc"])
def test_pod_lists_name_the_handler(daemon: Daemon, handler: str) -> None:
    """ListPodSandbox: runtime_handler as it was asked for, in the list, the stream and the status."""
    pod = run_pod(daemon, handler=handler)
    (listed,) = daemon.call("ListPodSandbox").items
    (batch,) = daemon.call("StreamPodSandboxes")
    assert listed.runtime_handler == batch.pod_sandboxes[0].runtime_handler == handler
    assert daemon.call("PodSandboxStatus", pod_sandbox_id=pod).status.runtime_handler == handler
    remove_pod(daemon, pod)


@pytest.mark.fact("RunPodSandbox")
def test_run_pod_that_fails(daemon: Daemon) -> None:
    """RunPodSandbox: an unknown handler, and a network plugin that fails, leave no pod; the name is free at once."""
    config = pod_config("again")
    assert refusal(daemon, config, "kata")[0] == Code.INVALID_ARGUMENT
    broken = daemon.plugins / "portmap"
    broken.write_text(
        '#!/bin/sh\ntest "$CNI_COMMAND" != ADD || { echo \'{"code": 100, "msg": "no rule"}\'; exit 1; }\n'
    )
    broken.chmod(0o755)
    try:
        assert "no rule" in refusal(daemon, config)[1]
    finally:
        broken.unlink()
    assert not daemon.call("ListPodSandbox").items
    remove_pod(daemon, run_pod(daemon, config))


@pytest.mark.fact("StopPodSandbox", "RemovePodSandbox")
def test_a_network_that_cannot_be_torn_down(daemon: Daemon) -> None:
    """StopPodSandbox, RemovePodSandbox: an error while the tear-down fails, NOTREADY meanwhile, OK afterwards."""
    pod = run_pod(daemon)
    one = start(daemon, pod)
    broken = daemon.plugins / "bridge"
    broken.write_text('#!/bin/sh\necho \'{"code": 100, "msg": "stuck"}\'; exit 1\n')
    broken.chmod(0o755)
    try:
        for method in ("StopPodSandbox", "RemovePodSandbox", "StopPodSandbox"):
            with pytest.raises(grpc.RpcError, match="stuck"):
                daemon.call(method, pod_sandbox_id=pod)
            assert daemon.call("PodSandboxStatus", pod_sandbox_id=pod).status.state == cri.SANDBOX_NOTREADY
        assert daemon.call("ContainerStatus", container_id=one).status.state == cri.CONTAINER_EXITED
    finally:
        broken.unlink()
    remove_pod(daemon, pod)


@pytest.mark.fact("run_as_group of the sandbox")
def test_a_group_without_user_for_the_sandbox(daemon: Daemon) -> None:
    """run_as_group: the sandbox takes it without run_as_user, as the kubelet sends a pod-level runAsGroup."""
    config = pod_config()
    config.linux.security_context.run_as_group.value = 1234
    remove_pod(daemon, run_pod(daemon, config))


@pytest.mark.fact("user namespaces")
@pytest.mark.parametrize("mode", [cri.CONTAINER, cri.TARGET])
def test_user_namespace_modes(daemon: Daemon, mode: int) -> None:
    """User namespaces: CONTAINER and TARGET are refused for pod and container."""
    config = pod_config()
    config.linux.security_context.namespace_options.userns_options.mode = mode  # type: ignore[assignment]
    assert refusal(daemon, config)[0] == Code.INVALID_ARGUMENT
    pod = run_pod(daemon)
    wish = container_config()
    wish.linux.security_context.namespace_options.userns_options.mode = mode  # type: ignore[assignment]
    with pytest.raises(grpc.RpcError) as caught:
        create(daemon, pod, wish)
    assert caught.value.code() == Code.INVALID_ARGUMENT
    remove_pod(daemon, pod)


@pytest.mark.fact("user namespaces")
@pytest.mark.parametrize("mappings", [[], [(0, 100000, 1000), (1000, 200000, 1000)], [(1, 100000, 65535)]])
def test_user_namespace_mappings(daemon: Daemon, mappings: list[tuple[int, int, int]]) -> None:
    """User namespaces: none or more than one mapping, or id 0 unmapped, is refused."""
    config = pod_config()
    options = config.linux.security_context.namespace_options.userns_options
    options.mode = cri.POD
    for inside, outside, length in mappings:
        options.uids.add(container_id=inside, host_id=outside, length=length)
        options.gids.add(container_id=inside, host_id=outside, length=length)
    assert refusal(daemon, config)[0] == Code.INVALID_ARGUMENT


@pytest.mark.fact("user namespaces")
def test_user_namespace_status(daemon: Daemon) -> None:
    """User namespaces: the mappings are in the pod's status, and root of the container is another user of the node."""
    config = pod_config()
    options = config.linux.security_context.namespace_options.userns_options
    options.mode = cri.POD
    options.uids.add(container_id=0, host_id=1 << 20, length=65536)
    options.gids.add(container_id=0, host_id=1 << 20, length=65536)
    pod = run_pod(daemon, config)
    shown = daemon.call("PodSandboxStatus", pod_sandbox_id=pod).status.linux.namespaces.options.userns_options
    assert shown == options
    one = start(daemon, pod)
    answer = daemon.call("ExecSync", container_id=one, cmd=["cat", "/proc/self/uid_map"])
    assert answer.stdout.split() == [b"0", b"1048576", b"65536"]
    remove_pod(daemon, pod)


@pytest.mark.fact("cgroup_parent")
def test_cgroup_parent(daemon: Daemon) -> None:
    """cgroup_parent: what the client names is used as it is, and left to the client; without one it is ours."""
    parent = f"{daemon.cgroup}/kubepods-like"
    config = pod_config()
    config.linux.cgroup_parent = parent
    pod = run_pod(daemon, config)
    one = start(daemon, pod)
    info = json.loads(daemon.call("ContainerStatus", container_id=one, verbose=True).info["info"])
    assert info["cgroup"] == f"{parent}/{one}"
    remove_pod(daemon, pod)
    cgroups.remove(parent)
