"""kill -9 of the daemon at every step of every operation: the next start brings node and records together again.

A container that runs all the while must not notice any of it: `bystander` is looked at after each restart.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from crishim.pb import cri_pb2 as cri
from tests.node.breakable import BreakableDaemon, crash, node_with_bystander
from tests.node.movers import moves_devices
from tests.support.daemon import assert_clean, eventually
from tests.support.isolation import ip, remove_link
from tests.support.pods import (
    annotated,
    container_config,
    create,
    execute,
    pod_config,
    remove_pod,
    run_pod,
    start,
    status,
    wait_exited,
)

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def node(busybox_archive: Path) -> Iterator[BreakableDaemon]:
    with node_with_bystander(busybox_archive) as daemon:
        yield daemon


RUN_POD = [
    "PodNetworks.plan after 1",
    "Store._write before 1",
    "Store.add after 1",
    "namespaces.make after 1",
    "Sandboxes.make after 1",
    "exec bridge after 1",
    "PluginChain._execute after 1",
    "exec portmap after 1",
    "PodNetworks.add after 1",
    "exec crun after 1",
    "Inits.start after 1",
    "Sandboxes.set_addresses after 1",
    "Store.update before 1",
    "Store._write after 2",
    "Store.update after 1",
]


@pytest.mark.parametrize("point", RUN_POD)
def test_run_pod(daemon: BreakableDaemon, point: str) -> None:
    """Killed in RunPodSandbox: nothing is left, or a pod that is READY; a retry succeeds either way."""
    before = daemon.left()
    config = pod_config(port_mappings=[cri.PortMapping(host_port=8099, container_port=80)])
    config.linux.security_context.namespace_options.pid = cri.POD
    crash(daemon, point, "RunPodSandbox", config=config)
    pods = [p.id for p in daemon.call("ListPodSandbox").items if p.metadata == config.metadata]
    if point in ("Store.update after 1", "Store._write after 2"):
        assert len(pods) == 1
    else:
        assert pods == []
        assert_clean(daemon, before)
    pod = run_pod(daemon, config)
    assert pods in ([], [pod])
    wish = container_config(command=["true"])
    wish.linux.security_context.namespace_options.pid = cri.POD
    assert wait_exited(daemon, start(daemon, pod, wish)).exit_code == 0
    remove_pod(daemon, pod)


CREATE = [
    "Store.add before 1",
    "Store._write after 1",
    "RootFilesystems.mount after 1",
    "Filesystems.prepare after 1",
    "Launcher.write_bundle after 1",
    "exec conmon after 1",
    "conmon._references before 1",
    "conmon.create after 1",
    "Store.update before 1",
    "Store.update after 1",
]


@pytest.mark.parametrize("handler", ["crun", "runc"])
@pytest.mark.parametrize("point", CREATE)
def test_create_container(daemon: BreakableDaemon, point: str, handler: str) -> None:
    """Killed in CreateContainer: nothing is left, or a container that is CREATED and can be started."""
    pod_wish = pod_config()
    pod = run_pod(daemon, pod_wish, handler)
    before = daemon.left()
    before["cgroups"].add(pod)  # it stays until the pod is removed
    wish = container_config(command=["sh", "-c", "exit 5"])
    crash(daemon, point, "CreateContainer", pod_sandbox_id=pod, config=wish, sandbox_config=pod_wish)
    made = [c.id for c in daemon.call("ListContainers", filter=cri.ContainerFilter(pod_sandbox_id=pod)).containers]
    if point == "Store.update after 1":
        assert len(made) == 1
    else:
        assert made == []
        assert_clean(daemon, before)
    container = create(daemon, pod, wish)
    assert made in ([], [container])
    daemon.call("StartContainer", container_id=container)
    assert wait_exited(daemon, container).exit_code == 5
    remove_pod(daemon, pod)


@pytest.fixture
def device() -> Iterator[str]:
    """A host device with addresses, UP; a veth, whose peer stays on the host."""
    ip("link", "add", "crasht0", "mtu", "1400", "type", "veth", "peer", "name", "crasht1")
    ip("addr", "add", "10.77.0.1/24", "dev", "crasht0")
    ip("-6", "addr", "add", "fd77::1/64", "dev", "crasht0", "nodad")
    ip("link", "set", "crasht1", "up")
    ip("link", "set", "crasht0", "up")
    yield "crasht0"
    remove_link("crasht0")
    remove_link("crasht1")


def at_home(device: str) -> bool:
    shown = ip("addr", "show", "dev", device)
    return "10.77.0.1/24" in shown and "fd77::1/64" in shown and "UP" in shown and "mtu 1400" in shown


DEVICES = {  # where a daemon is killed, by who moves devices
    "builtin": [
        "Journal.open after 1",
        "transaction.mark after 1",
        "transaction.move after 1",
        "Plan.begin after 1",
        "conmon.create after 1",
        "Plan.verify_and_repair after 1",
        "Store.update after 1",
    ],
    "runtime": [
        "Journal.open after 1",
        "Plan.begin after 1",
        "exec conmon after 1",
        "conmon.create after 1",
        "verify.verify after 1",
        "Plan.verify_and_repair after 1",
        "Store.update after 1",
    ],
}


@pytest.mark.parametrize(
    ("handler", "point"),
    [(h, p) for h in ("crun", "runc") for p in DEVICES["runtime" if moves_devices(h) else "builtin"]],
)
def test_create_container_with_a_device(daemon: BreakableDaemon, device: str, handler: str, point: str) -> None:
    """Killed while a device is moved: a retry gets it, and it is back on the host as it was once the pod is stopped."""
    pod_wish = pod_config(annotations=annotated(crasht0="net1"))
    pod = run_pod(daemon, pod_wish, handler)
    wish = container_config()
    crash(daemon, point, "CreateContainer", pod_sandbox_id=pod, config=wish, sandbox_config=pod_wish)
    container = create(daemon, pod, wish, pod_wish)
    daemon.call("StartContainer", container_id=container)
    code, shown = execute(daemon, container, "ip", "addr", "show", "dev", "net1")
    assert code == 0
    assert "10.77.0.1/24" in shown
    assert "fd77::1/64" in shown
    daemon.call("StopPodSandbox", pod_sandbox_id=pod)
    assert at_home(device)
    daemon.call("RemovePodSandbox", pod_sandbox_id=pod)


START = ["Store.update after 1", "exec start after 1", "Runtime.start after 1", "Store._write after 2"]


@pytest.mark.parametrize("handler", ["crun", "runc"])
@pytest.mark.parametrize("point", START)
def test_start_container(daemon: BreakableDaemon, tmp_path: Path, point: str, handler: str) -> None:
    """Killed in StartContainer: the container is CREATED and can be started, or it runs; never twice."""
    pod_wish = pod_config(log_directory=str(tmp_path))
    pod = run_pod(daemon, pod_wish, handler)
    container = create(daemon, pod, container_config(log_path="c.log"), pod_wish)
    crash(daemon, point, "StartContainer", container_id=container)
    found = status(daemon, container)
    if found.state != cri.CONTAINER_CREATED and point == "Store.update after 1":
        pytest.fail("started without having been asked to")
    daemon.call("StartContainer", container_id=container)  # the client has no answer, and asks again
    found = status(daemon, container)
    assert found.state == cri.CONTAINER_RUNNING
    assert found.created_at <= found.started_at
    eventually(lambda: "ready" in (tmp_path / "c.log").read_text(), "the command ran")
    daemon.call("StopContainer", container_id=container, timeout=10)
    assert status(daemon, container).exit_code == 3
    remove_pod(daemon, pod)


@pytest.mark.parametrize("point", ["Runtime.start after 1", "Store._write after 2"])
def test_start_of_a_short_command(daemon: BreakableDaemon, point: str) -> None:
    """Killed in StartContainer, and the command is over when the client asks again: it was started, once."""
    pod = run_pod(daemon)
    container = create(daemon, pod, container_config(command=["sh", "-c", "exit 7"]))
    crash(daemon, point, "StartContainer", container_id=container)
    assert wait_exited(daemon, container).exit_code == 7
    daemon.call("StartContainer", container_id=container)
    found = status(daemon, container)
    assert (found.state, found.exit_code) == (cri.CONTAINER_EXITED, 7)
    assert found.created_at <= found.started_at <= found.finished_at
    remove_pod(daemon, pod)


STOP = [
    "exits.record_exit before 1",
    "Store.update before 1",
    "Store.update after 1",
    "Runtime.delete before 1",
    "exec delete after 1",
    "exits.release_container after 1",
]


@pytest.mark.parametrize("point", STOP)
def test_stop_container(daemon: BreakableDaemon, point: str) -> None:
    """Killed while a container ends: its exit code is recorded, what it held is free."""
    pod = run_pod(daemon)
    container = start(daemon, pod)
    eventually(lambda: execute(daemon, container, "true")[0] == 0, "it runs")
    crash(daemon, point, "StopContainer", container_id=container, timeout=10)
    found = wait_exited(daemon, container)
    assert (found.exit_code, found.reason) == (3, "Error")
    assert found.started_at <= found.finished_at
    daemon.call("StopContainer", container_id=container, timeout=10)
    remove_pod(daemon, pod)


STOP_POD = [
    "Store.update after 1",
    "exits.record_exit before 1",
    "exits.release_container after 1",
    "stop_pod.tear_down before 1",
    "Journal.advance after 1",
    "NetDevices.return_devices after 1",
    "exec portmap after 1",
    "PluginChain._execute after 1",
    "PodNetworks.delete after 1",
    "Sandboxes.remove after 1",
    "stop_pod.tear_down after 1",
    "Store.update after 3",
]


@pytest.mark.parametrize("point", STOP_POD)
def test_stop_pod(daemon: BreakableDaemon, device: str, point: str) -> None:
    """Killed in StopPodSandbox: the next start finishes the stop; the device is back, addresses are free."""
    pod_wish = pod_config(annotations=annotated(crasht0="net1"))
    pod = run_pod(daemon, pod_wish)
    container = start(daemon, pod)
    crash(daemon, point, "StopPodSandbox", pod_sandbox_id=pod)
    assert daemon.call("PodSandboxStatus", pod_sandbox_id=pod).status.state == cri.SANDBOX_NOTREADY
    daemon.call("StopPodSandbox", pod_sandbox_id=pod)
    assert status(daemon, container).exit_code == 137
    assert at_home(device)
    daemon.call("RemovePodSandbox", pod_sandbox_id=pod)
