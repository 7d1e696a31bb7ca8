"""Nothing blocks the event loop: every call that may raises on its thread, while a daemon does whole lives of pods.

The calls, and those that are allowed with the reason why, are in tests/faults/loop_guard.py.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from crishim.cri.stream.remotecommand.protocol import V4
from crishim.pb import cri_pb2 as cri
from tests.node.breakable import BreakableDaemon, breakable_daemon
from tests.support.daemon import IMAGE, assert_clean, eventually
from tests.support.isolation import ip, remove_link
from tests.support.pods import (
    SLEEP,
    annotated,
    container_config,
    create,
    execute,
    pod_config,
    remove_pod,
    run_pod,
    start,
    wait_exited,
)
from tests.support.streams.asynchronous import SpdyClient, spdy, websocket

pytestmark = pytest.mark.node
DEVICE = "guarded0"


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("loop") / "findings"


@pytest.fixture(scope="module")
def node(busybox_archive: Path, findings: Path) -> Iterator[BreakableDaemon]:
    """A daemon whose loop is guarded; it starts anew in every test."""
    os.environ["CRISHIM_LOOP_GUARD"] = str(findings)
    try:
        with breakable_daemon() as daemon:
            yield daemon
    finally:
        del os.environ["CRISHIM_LOOP_GUARD"]


@pytest.fixture(autouse=True)
def unblocked(node: BreakableDaemon, findings: Path) -> Iterator[None]:
    """After each test: what was called on the loop's thread that may block."""
    if findings.exists():
        os.truncate(findings, 0)
    yield
    lines = [json.loads(line) for line in findings.read_text().splitlines()] if findings.exists() else []
    text = "\n".join(f"{e['call']} {e['detail']}\n    " + "\n    ".join(e["stack"][:6]) for e in lines)
    assert not lines, f"on the event loop's thread:\n{text}"


@pytest.fixture
def device() -> Iterator[str]:
    ip("link", "add", DEVICE, "type", "veth", "peer", "name", f"{DEVICE}p")
    ip("addr", "add", "192.0.2.77/24", "dev", DEVICE)
    ip("link", "set", DEVICE, "up")
    yield DEVICE
    remove_link(DEVICE)


def images(daemon: BreakableDaemon, archive: Path) -> None:
    done = daemon.command("images", "import", str(archive))
    assert done.returncode == 0, done.stderr


def test_the_guard_guards(node: BreakableDaemon, findings: Path) -> None:
    """A call that blocks is found and raises: a look at the log's directory, which the harness makes in the daemon."""
    node.stop()
    os.environ["CRISHIM_LOOP_GUARD_TRIAL"] = "1"
    try:
        node.start()
    finally:
        del os.environ["CRISHIM_LOOP_GUARD_TRIAL"]
    found = [json.loads(line) for line in findings.read_text().splitlines()]
    assert {"os.stat", "open", "time.sleep", "os.listdir"} <= {entry["call"] for entry in found}
    node.stop()
    node.start()
    os.truncate(findings, 0)


def test_images(daemon: BreakableDaemon, busybox_archive: Path) -> None:
    images(daemon, busybox_archive)
    assert daemon.call("ListImages").images
    assert daemon.call("ImageStatus", image=cri.ImageSpec(image=IMAGE)).image.id
    daemon.call("ImageFsInfo")
    with contextlib.suppress(grpc.RpcError):
        daemon.call("PullImage", image=cri.ImageSpec(image="localhost:1/nothing:here"))
    daemon.call("RemoveImage", image=cri.ImageSpec(image=IMAGE))


def questions(daemon: BreakableDaemon, pod: str, container: str) -> None:
    """Every question of the API that has an answer."""
    daemon.call("Version")
    daemon.call("Status", verbose=True)
    daemon.call("RuntimeConfig")
    daemon.call("PodSandboxStatus", pod_sandbox_id=pod, verbose=True)
    daemon.call("ContainerStatus", container_id=container, verbose=True)
    daemon.call("ContainerStats", container_id=container)
    daemon.call("PodSandboxStats", pod_sandbox_id=pod)
    for name in ("ListPodSandbox", "ListContainers", "ListContainerStats", "ListPodSandboxStats", "ListImages"):
        daemon.call(name)
    for name in ("ListMetricDescriptors", "ListPodSandboxMetrics", "ImageFsInfo", "StreamContainers"):
        daemon.call(name)


def pods(logs: Path) -> dict[str, cri.PodSandboxConfig]:
    """One pod of each kind of namespaces, one with its logs below the directory."""
    found = {name: pod_config(name) for name in ("plain", "node", "shared", "users")}
    found["plain"].port_mappings.add(host_port=8097, container_port=80)
    found["plain"].dns_config.servers.append("192.0.2.1")
    found["plain"].log_directory = str(logs / "plain")
    found["node"].linux.security_context.namespace_options.network = cri.NODE
    found["shared"].linux.security_context.namespace_options.pid = cri.POD
    mapping = cri.IDMapping(host_id=200000, container_id=0, length=65536)
    users = cri.UserNamespace(mode=cri.POD, uids=[mapping], gids=[mapping])
    found["users"].linux.security_context.namespace_options.userns_options.CopyFrom(users)
    return found


@pytest.mark.parametrize(
    ("kind", "handler"), [("plain", "crun"), ("plain", "runc"), ("node", "crun"), ("shared", "runc"), ("users", "crun")]
)
def test_a_life(daemon: BreakableDaemon, busybox_archive: Path, device: str, kind: str, handler: str) -> None:
    """RunPodSandbox to RemovePodSandbox with all there is between, and a restart of the daemon in its middle."""
    images(daemon, busybox_archive)
    config = pods(daemon.directory / "logs")[kind]
    if kind in ("plain", "users"):
        config.annotations.update(annotated(**{device: "net1"}))
    pod = run_pod(daemon, config, handler)
    wish = container_config(log_path="c.log", mounts=[cri.Mount(host_path="/mnt", container_path="/mnt")])
    wish.linux.security_context.namespace_options.pid = config.linux.security_context.namespace_options.pid
    container = create(daemon, pod, wish, config)
    daemon.call("StartContainer", container_id=container)
    assert execute(daemon, container, "echo", "said") == (0, "said\n")
    with pytest.raises(grpc.RpcError):
        execute(daemon, container, "sleep", "100", timeout=1)
    questions(daemon, pod, container)
    resources = cri.LinuxContainerResources(memory_limit_in_bytes=64 << 20)
    daemon.call("UpdateContainerResources", container_id=container, linux=resources)
    if kind == "plain":
        daemon.call("ReopenContainerLog", container_id=container)
        daemon.command("netdev", "list")
        asyncio.run(streams(daemon, pod, container))
    archive = daemon.directory / "checkpoint.tar"
    with contextlib.suppress(grpc.RpcError):
        daemon.call("CheckpointContainer", container_id=container, location=str(archive), timeout=20)
    archive.unlink(missing_ok=True)
    daemon.stop()
    daemon.start()
    ended = start(daemon, pod, container_config("ended", command=["false"]))
    assert wait_exited(daemon, ended).exit_code == 1
    daemon.call("StopContainer", container_id=container, timeout=5)
    daemon.call("RemoveContainer", container_id=container)
    questions(daemon, pod, ended)
    remove_pod(daemon, pod)


def came_through(client: SpdyClient) -> bool:
    return b"through" in client.received.get(5, b"")


async def streams(daemon: BreakableDaemon, pod: str, container: str) -> None:
    """exec with and without a terminal, attach and port-forward, by both protocols."""
    for tty in (False, True):
        wish: dict[str, Any] = {"container_id": container, "cmd": ["cat"], "stdin": True, "stdout": True, "tty": tty}
        async with spdy(daemon.call("Exec", **wish).url, V4) as client:
            for kind in ("error", "stdin", "stdout", *(["resize"] if tty else [])):
                await client.open(streamType=kind)
            client.send(3, b"through\n")
            await client.until(partial(came_through, client), seconds=30)
    url = daemon.call("Attach", container_id=container, stdin=False, stdout=True, stderr=True).url
    async with websocket(url, "v5.channel.k8s.io"):
        pass
    url = daemon.call("PortForward", pod_sandbox_id=pod, port=[80]).url
    async with spdy(url, "portforward.k8s.io") as client:
        await client.open(streamType="error", port="80", requestID="0")
        await client.open(streamType="data", port="80", requestID="0")
        await client.text(1)


def test_failures(daemon: BreakableDaemon, busybox_archive: Path) -> None:
    """What is undone, what is killed and what was never there."""
    images(daemon, busybox_archive)
    before = daemon.left()
    pod = run_pod(daemon)
    for config in (
        container_config(command=["/no/such/command"]),
        container_config(mounts=[cri.Mount(host_path="/proc/no/such/path", container_path="/p")]),
    ):
        with pytest.raises(grpc.RpcError):
            create(daemon, pod, config)
    container = start(daemon, pod, container_config(command=SLEEP))
    with pytest.raises(grpc.RpcError):
        execute(daemon, container, "/no/such/command")
    remove_pod(daemon, pod)
    assert_clean(daemon, before)
    daemon.stop()
    eventually(lambda: not daemon.socket.exists(), "the daemon has ended")
    daemon.start()
