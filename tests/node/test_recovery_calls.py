"""Calls that outlast their client or their daemon: retries after a deadline, plugins that go on alone, SIGTERM."""

import concurrent.futures
import contextlib
import signal
import subprocess
import time
from pathlib import Path

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.node.process_facts import info
from tests.support.daemon import Daemon, eventually
from tests.support.pods import (
    container_config,
    create,
    pod_config,
    remove_pod,
    run_pod,
    start,
)

pytestmark = pytest.mark.node


def slow(daemon: Daemon, name: str, seconds: str, real: str) -> None:
    """A plugin of the node that waits before it becomes the real one."""
    path = daemon.plugins / name
    path.write_text(f'#!/bin/sh\ntest "$CNI_COMMAND" != ADD || sleep {seconds}\nexec {real} "$@"\n')
    path.chmod(0o755)


def real_plugin(name: str) -> str:
    for directory in ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"):
        if Path(directory, name).exists():
            return str(Path(directory, name))
    raise AssertionError(f"no CNI plugin {name}")


@pytest.fixture
def slow_portmap(daemon: Daemon):  # type: ignore[no-untyped-def]
    slow(daemon, "portmap", "0.7", real_plugin("portmap"))
    yield
    (daemon.plugins / "portmap").unlink()


@pytest.mark.fact("a retried RunPodSandbox")
def test_a_retry_after_a_deadline_gets_the_same_pod(daemon: Daemon, slow_portmap: None) -> None:
    """RunPodSandbox goes on when its client gives up; a retry, during or after it, returns that pod."""
    wish = pod_config()
    with pytest.raises(grpc.RpcError) as caught:
        daemon.call("RunPodSandbox", config=wish, deadline=0.1)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    during = run_pod(daemon, wish)
    assert run_pod(daemon, wish) == during
    assert [p.id for p in daemon.call("ListPodSandbox").items] == [during]
    wish.labels["other"] = "config"
    with pytest.raises(grpc.RpcError) as caught:
        run_pod(daemon, wish)
    assert caught.value.code() == grpc.StatusCode.ALREADY_EXISTS
    remove_pod(daemon, during)


def test_a_retry_after_a_deadline_gets_the_same_container(daemon: Daemon) -> None:
    """CreateContainer goes on when its client gives up; a retry, during or after it, returns that container."""
    pod = run_pod(daemon)
    with pytest.raises(grpc.RpcError) as caught:
        daemon.call(
            "CreateContainer",
            pod_sandbox_id=pod,
            config=container_config(),
            sandbox_config=pod_config(),
            deadline=0.005,
        )
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    during = create(daemon, pod)
    assert create(daemon, pod) == during
    assert [c.id for c in daemon.call("ListContainers").containers] == [during]
    daemon.call("StartContainer", container_id=during)
    with pytest.raises(grpc.RpcError) as caught:
        create(daemon, pod)
    assert caught.value.code() == grpc.StatusCode.ALREADY_EXISTS
    remove_pod(daemon, pod)


@pytest.mark.parametrize("plugin", ["bridge", "host-local", "portmap"])
def test_a_plugin_that_outlives_the_daemon(daemon: Daemon, plugin: str) -> None:
    """kill -9 while a slow plugin works, and a quick start: what it still makes is taken away with the pod."""
    slow(daemon, plugin, "1.2", real_plugin(plugin))
    waiting = ["pgrep", "-f", f"{daemon.plugins / plugin}"]
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            call = pool.submit(run_pod, daemon)
            eventually(lambda: subprocess.run(waiting, stdout=subprocess.DEVNULL).returncode == 0, "it works")
            daemon.kill()
            assert isinstance(call.exception(), grpc.RpcError)
        daemon.start()
        assert not daemon.call("ListPodSandbox").items
        assert subprocess.run(waiting, stdout=subprocess.DEVNULL).returncode == 1
    finally:
        (daemon.plugins / plugin).unlink()


def test_what_is_answered_during_recovery(daemon: Daemon) -> None:
    """Status and lists are; a probe is refused, a change waits. What makes recovery take time is a killed ADD."""
    kept = run_pod(daemon)
    container = start(daemon, kept)
    go = daemon.directory / "go"
    script = daemon.plugins / "portmap"
    script.write_text(f'#!/bin/sh\nuntil test -e {go}; do sleep 0.05; done\nexec {real_plugin("portmap")} "$@"\n')
    script.chmod(0o755)
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            unfinished = pool.submit(run_pod, daemon)
            waiting = ["pgrep", "-f", str(script)]
            eventually(lambda: subprocess.run(waiting, stdout=subprocess.DEVNULL).returncode == 0, "it works")
            daemon.kill()
            assert isinstance(unfinished.exception(), grpc.RpcError)
            offset = daemon.launch()
            daemon.wait_answering()
            assert [c.status for c in daemon.call("Status").status.conditions] == [True, True]
            assert [p.id for p in daemon.call("ListPodSandbox").items] == [kept]
            assert [c.state for c in daemon.call("ListContainers").containers] == [cri.CONTAINER_RUNNING]
            assert daemon.call("PodSandboxStatus", pod_sandbox_id=kept).status.state == cri.SANDBOX_READY
            with pytest.raises(grpc.RpcError) as caught:
                daemon.call("ExecSync", container_id=container, cmd=["true"], timeout=5)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            stop = pool.submit(daemon.call, "StopContainer", container_id=container, timeout=5)
            assert b'"message": "serving"' not in daemon.log.read_bytes()[offset:]
            assert not stop.done()
            go.touch()
            stop.result()
        daemon.wait_serving(offset)
        assert [p.id for p in daemon.call("ListPodSandbox").items] == [kept]
    finally:
        go.touch()
        script.unlink()
    remove_pod(daemon, kept)
    go.unlink()


def test_sigterm_drains(daemon: Daemon, slow_portmap: None) -> None:
    """SIGTERM lets a call under way finish, then the daemon ends with 0; containers stay; so with an event stream."""
    bystander = start(daemon, run_pod(daemon))
    pid = info(daemon, bystander)["pid"]
    stream = daemon.call("GetContainerEvents", deadline=30)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        call = pool.submit(run_pod, daemon)
        eventually(lambda: len(list((daemon.state / "pods").glob("*.json"))) == 2, "the call is under way")
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert daemon.process.wait(10) == 0
        assert time.monotonic() - began < 5
        pod = call.result()
    assert not daemon.socket.exists()
    with contextlib.suppress(grpc.RpcError):
        list(stream)
    daemon.end(0)
    daemon.start()
    assert info(daemon, bystander)["pid"] == pid
    assert {p.id for p in daemon.call("ListPodSandbox").items} >= {pod}
    for found in daemon.call("ListPodSandbox").items:
        remove_pod(daemon, found.id)
