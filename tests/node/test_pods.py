"""Pods and containers through the socket, from RunPodSandbox to RemovePodSandbox."""

import json
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.node.refusals import refused
from tests.support.daemon import Daemon, eventually
from tests.support.isolation import ip
from tests.support.pods import (
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


def test_a_pod_gets_eth0_from_cni_and_nothing_else_runs(daemon: Daemon) -> None:
    """RunPodSandbox is READY on return, with both families' addresses, and starts no process."""
    before = daemon.left()["processes"]
    pod = run_pod(daemon)
    answer = daemon.call("PodSandboxStatus", pod_sandbox_id=pod, verbose=True)
    assert answer.status.state == cri.SANDBOX_READY
    assert answer.status.network.ip.startswith("10.231.")
    assert [a.ip[:6] for a in answer.status.network.additional_ips] == ["fd31::"]
    assert answer.status.created_at > 0
    netns = json.loads(answer.info["info"])["namespaces"]["net"]
    assert "UP" in ip("link", "show", "lo", netns=netns)
    assert answer.status.network.ip in ip("addr", "show", "eth0", netns=netns)
    assert daemon.left()["processes"] == before
    remove_pod(daemon, pod)


def test_a_container_lives_and_ends(daemon: Daemon, tmp_path: Path) -> None:
    """Create, start, exec, logs, stop by the stop signal, exit code, remove."""
    config = pod_config(log_directory=str(tmp_path))
    pod = run_pod(daemon, config)
    container = create(daemon, pod, container_config(log_path="c.log"), config)
    assert status(daemon, container).state == cri.CONTAINER_CREATED
    daemon.call("StartContainer", container_id=container)
    assert status(daemon, container).state == cri.CONTAINER_RUNNING
    log = tmp_path / "c.log"
    eventually(lambda: "ready" in log.read_text(), "the command ran")
    stamp, stream, tag, text = log.read_text().splitlines()[0].split(" ", 3)
    assert (stream, tag, text) == ("stdout", "F", "ready")
    assert "T" in stamp
    assert execute(daemon, container, "sh", "-c", "echo out; exit 4") == (4, "out\n")
    daemon.call("StopContainer", container_id=container, timeout=10)
    found = status(daemon, container)
    assert (found.state, found.exit_code, found.reason) == (cri.CONTAINER_EXITED, 3, "Error")
    assert found.created_at <= found.started_at <= found.finished_at
    assert found.log_path == str(log)
    daemon.call("RemoveContainer", container_id=container)
    assert refused(daemon.call, "ContainerStatus", container_id=container)[0] == grpc.StatusCode.NOT_FOUND
    assert log.exists()
    remove_pod(daemon, pod)


@pytest.mark.parametrize("handler", ["crun", "runc"])
def test_both_runtimes(daemon: Daemon, handler: str) -> None:
    """A pod runs under each configured handler, and says which."""
    pod = run_pod(daemon, handler=handler)
    assert daemon.call("PodSandboxStatus", pod_sandbox_id=pod).status.runtime_handler == handler
    container = start(daemon, pod, container_config(command=["sh", "-c", "exit 7"]))
    assert wait_exited(daemon, container).exit_code == 7
    remove_pod(daemon, pod)


@pytest.mark.fact("PID mode")
def test_a_shared_pid_namespace_has_catatonit_as_its_init(daemon: Daemon) -> None:
    """PID mode POD: containers see each other and a pid 1 that is not theirs; its root is not the host's."""
    config = pod_config()
    config.linux.security_context.namespace_options.pid = cri.POD
    pod = run_pod(daemon, config)
    wish = container_config()
    wish.linux.security_context.namespace_options.pid = cri.POD
    first = start(daemon, pod, wish)
    wish.metadata.name = "other"
    start(daemon, pod, wish)
    code, listing = execute(daemon, first, "ps", "-o", "pid,args")
    assert code == 0
    assert "catatonit" in listing.splitlines()[1]
    assert listing.count("trap") == 2
    remove_pod(daemon, pod)


@pytest.mark.fact("StopPodSandbox", "RemovePodSandbox", "StopContainer")
def test_stop_and_remove_are_idempotent(daemon: Daemon) -> None:
    """Stopping or removing what is stopped, removed or was never there is no error."""
    pod = run_pod(daemon)
    container = start(daemon, pod)
    for _ in range(2):
        daemon.call("StopContainer", container_id=container, timeout=0)
    assert status(daemon, container).exit_code == 137
    for _ in range(2):
        daemon.call("RemoveContainer", container_id=container)
    for _ in range(2):
        daemon.call("StopPodSandbox", pod_sandbox_id=pod)
    for _ in range(2):
        daemon.call("RemovePodSandbox", pod_sandbox_id=pod)
    daemon.call("StopContainer", container_id="beef" * 16, timeout=0)


@pytest.mark.fact("RemovePodSandbox")
def test_remove_pod_takes_running_containers_along(daemon: Daemon) -> None:
    """RemovePodSandbox without Stop kills and removes what is in the pod."""
    pod = run_pod(daemon)
    start(daemon, pod)
    create(daemon, pod, container_config("waiting"))
    daemon.call("RemovePodSandbox", pod_sandbox_id=pod)
    assert not daemon.call("ListContainers").containers


@pytest.mark.fact("pod IP and network mode")
def test_a_host_network_pod_skips_cni(daemon: Daemon) -> None:
    """Network mode NODE: no address of its own, the host's links."""
    config = pod_config()
    config.linux.security_context.namespace_options.network = cri.NODE
    pod = run_pod(daemon, config)
    assert daemon.call("PodSandboxStatus", pod_sandbox_id=pod).status.network.ip == ""
    wish = container_config()
    wish.linux.security_context.namespace_options.network = cri.NODE
    container = start(daemon, pod, wish)
    _, links = execute(daemon, container, "cat", "/proc/net/dev")
    assert {line.split(":")[0].strip() for line in links.splitlines()[2:]} >= {"lo"}
    assert " eth0:" not in links
    remove_pod(daemon, pod)


@pytest.mark.fact("ListPodSandbox")
def test_lists_combine_their_filters(daemon: Daemon) -> None:
    """id AND state AND labels, for pods and for containers."""
    one = run_pod(daemon, pod_config(labels={"app": "a"}))
    two = run_pod(daemon, pod_config(labels={"app": "a"}))
    daemon.call("StopPodSandbox", pod_sandbox_id=two)

    def pods(**fields: Any) -> set[str]:
        return {p.id for p in daemon.call("ListPodSandbox", filter=cri.PodSandboxFilter(**fields)).items}

    ready = cri.PodSandboxStateValue(state=cri.SANDBOX_READY)
    assert pods(label_selector={"app": "a"}) == {one, two}
    assert pods(label_selector={"app": "a"}, state=ready) == {one}
    assert pods(id=two, state=ready) == set()
    assert pods(id=two[:8], label_selector={"app": "b"}) == set()
    streamed = [p.id for batch in daemon.call("StreamPodSandboxes") for p in batch.pod_sandboxes]
    assert sorted(streamed) == sorted([one, two])
    remove_pod(daemon, one)
    remove_pod(daemon, two)
    assert daemon.call("StreamPodSandboxes") == []


def test_reopen_log_after_a_rename(daemon: Daemon, tmp_path: Path) -> None:
    """Rotation: rename, ReopenContainerLog, the same path again. Of an ended container: an error and no file."""
    config = pod_config(log_directory=str(tmp_path))
    pod = run_pod(daemon, config)
    command = ["sh", "-c", "while :; do echo tick; sleep 0.05; done"]
    container = create(daemon, pod, container_config(log_path="c.log", command=command), config)
    daemon.call("StartContainer", container_id=container)
    log, old = tmp_path / "c.log", tmp_path / "c.log.1"
    eventually(lambda: log.exists() and log.stat().st_size, "a line is logged")
    log.rename(old)
    daemon.call("ReopenContainerLog", container_id=container)
    assert log.exists()
    eventually(lambda: log.stat().st_size, "lines go to the new file")
    daemon.call("StopContainer", container_id=container, timeout=0)
    log.unlink()
    assert refused(daemon.call, "ReopenContainerLog", container_id=container)[0] == grpc.StatusCode.FAILED_PRECONDITION
    assert not log.exists()
    remove_pod(daemon, pod)


def iptables(*arguments: str) -> str:
    return subprocess.run(["iptables", "-t", "nat", *arguments], capture_output=True, text=True, check=True).stdout


def test_healthy_pods_of_each_kind(daemon: Daemon) -> None:
    """No plugin finds anything wrong with a pod with ports, one with a container, one of the host's network; and
    portmap does once the rules of its ports are gone."""
    host = pod_config()
    host.linux.security_context.namespace_options.network = cri.NODE
    ports = [cri.PortMapping(host_port=8098, container_port=80), cri.PortMapping(host_port=8097, container_port=81)]
    pods = [run_pod(daemon, config) for config in (pod_config(port_mappings=ports), pod_config(), host)]
    start(daemon, pods[1])
    done = daemon.command("pod", "check")
    assert done.returncode == 0, done.stdout
    found: dict[str, list[str]] = {line.split()[1]: [] for line in done.stdout.splitlines()[1:]}
    for line in done.stdout.splitlines()[1:]:
        found[line.split()[1]].append(line[line.index("ok") if "  ok" in line else line.index("not asked") :])
    assert [answer[:2] for answer in found[pods[0][:13]]] == ["ok", "ok"]  # Debian 12's portmap has a fault: a note
    assert found[pods[1][:13]] == ["ok", "ok"]
    assert found[pods[2][:13]] == ["not asked: it has the host's network"]
    chain = next(line.split()[1] for line in iptables("-S").splitlines() if line.startswith("-N CNI-DN-"))
    iptables("-F", chain)
    done = daemon.command("pod", "check", pods[0])
    assert done.returncode == 1
    assert "portmap failed to CHECK: could not check ipv4 dnat" in done.stdout
    for pod in pods:
        remove_pod(daemon, pod)


def test_a_network_changed_by_hand(daemon: Daemon) -> None:
    """`crishim pod check` tells what the real plugins' CHECK finds: nothing, then an address that is gone; verbose
    status has what was found last."""
    healthy, pod = run_pod(daemon), run_pod(daemon)

    def facts() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            daemon.call("PodSandboxStatus", pod_sandbox_id=pod, verbose=True).info["info"]
        )
        return found

    assert "cniCheck" not in facts()
    done = daemon.command("pod", "check")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [(row[1], row[3], row[-1]) for row in rows[1:]] == [
        (id[:13], plugin, "ok") for id in (healthy, pod) for plugin in ("bridge", "portmap")
    ]
    assert facts()["cniCheck"]["found"] == "ok"
    address = daemon.call("PodSandboxStatus", pod_sandbox_id=pod).status.network.ip
    netns = facts()["namespaces"]["net"]
    ip("addr", "del", f"{address}/16", "dev", "eth0", netns=netns)
    assert facts()["cniCheck"]["found"] == "ok"
    done = daemon.command("pod", "check", "--json")
    assert done.returncode == 1
    found = {each["id"]: [a["error"] for a in each["answers"]] for each in json.loads(done.stdout)}
    assert found[healthy] == [None, None]
    assert found[pod][0].startswith("CNI plugin bridge failed to CHECK")
    assert facts()["cniCheck"]["found"] == found[pod][0]
    assert daemon.command("pod", "check", healthy[:13]).returncode == 0
    remove_pod(daemon, healthy)
    done = daemon.command("pod", "check", healthy)
    assert (done.returncode, done.stderr) == (1, f"crishim: pod sandbox '{healthy}' does not exist\n")
    ip("addr", "add", f"{address}/16", "dev", "eth0", netns=netns)  # by which DEL finds its rules
    remove_pod(daemon, pod)
