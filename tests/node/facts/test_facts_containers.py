"""Containers: configuration, status, starts that fail, stops, updates."""

import base64
import concurrent.futures
import functools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.support.daemon import IMAGE, Daemon, eventually
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
Code = grpc.StatusCode
IDLE = ["sh", "-c", "while :; do sleep 1; done"]


def code_of(daemon: Daemon, method: str, **fields: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        daemon.call(method, **fields)
    code: grpc.StatusCode = caught.value.code()
    return code


@pytest.mark.fact("ListContainers", "ContainerStatus")
def test_created_is_complete(daemon: Daemon, tmp_path: Path) -> None:
    """ContainerStatus: complete in CREATED already, and its image_id is the one ImageStatus and ListContainers say."""
    sandbox = pod_config(log_directory=str(tmp_path))
    pod = run_pod(daemon, sandbox)
    config = container_config(log_path="sub/c.log", labels={"l": "1"}, annotations={"a": "2"})
    config.image.user_specified_image = "busybox"
    config.linux.resources.cpu_shares = 300
    config.linux.security_context.run_as_user.value = 1000
    config.stop_signal = cri.SIGNAL_SIGUSR1
    config.mounts.add(host_path=str(tmp_path), container_path="/data", readonly=True)
    one = create(daemon, pod, config, sandbox)
    found = status(daemon, one)
    image = daemon.call("ImageStatus", image=cri.ImageSpec(image=IMAGE)).image
    assert (found.id, found.metadata.name, found.state) == (one, "c", cri.CONTAINER_CREATED)
    assert found.created_at > 0
    assert (found.started_at, found.finished_at) == (0, 0)
    assert found.image.image == "busybox"  # as the pod's spec has it: the kubelet creates by id
    assert found.image_id == found.image_ref == image.id
    assert found.log_path == str(tmp_path / "sub/c.log")
    assert found.resources.linux.cpu_shares == 300
    assert found.user.linux.uid == 1000
    assert found.stop_signal == cri.SIGNAL_SIGUSR1
    assert list(found.mounts) == list(config.mounts)
    (listed,) = daemon.call("ListContainers").containers
    assert (listed.image_id, listed.image_ref, listed.pod_sandbox_id) == (image.id, image.id, pod)
    assert (listed.labels, listed.annotations, listed.created_at) == (found.labels, found.annotations, found.created_at)
    remove_pod(daemon, pod)


@pytest.mark.fact("CreateContainer", "env values are bytes")
def test_the_configuration_round_trips(daemon: Daemon) -> None:
    """CreateContainer: the configuration comes back unaltered, env values that are no UTF-8 included."""
    pod = run_pod(daemon)
    config = container_config(labels={"a/b": ""}, annotations={"": "\u00e9", "n": "\n"}, working_dir="/tmp")
    config.envs.add(key="RAW", value=bytes(range(1, 256)))
    config.envs.add(key="EMPTY", value=b"")
    sent = config.SerializeToString(deterministic=True)
    one = start(daemon, pod, config)
    record = json.loads((daemon.state / "containers" / f"{one}.json").read_text())
    assert base64.b64decode(record["config"]) == sent
    answer = daemon.call("ExecSync", container_id=one, cmd=["cat", "/proc/1/environ"])
    variables = dict(v.split(b"=", 1) for v in answer.stdout.split(b"\0") if v)
    assert variables[b"RAW"] == bytes(range(1, 256))
    assert variables[b"EMPTY"] == b""
    remove_pod(daemon, pod)


@pytest.mark.fact("CreateContainer")
def test_name_and_attempt(daemon: Daemon) -> None:
    """CreateContainer: (name, attempt) is unique in a pod; a stopped pod takes no container."""
    pod = run_pod(daemon)
    start(daemon, pod)
    fields = {"pod_sandbox_id": pod, "sandbox_config": pod_config()}
    assert code_of(daemon, "CreateContainer", config=container_config(), **fields) == Code.ALREADY_EXISTS
    create(daemon, pod, container_config(attempt=1))
    daemon.call("StopPodSandbox", pod_sandbox_id=pod)
    late = container_config(attempt=2)
    assert code_of(daemon, "CreateContainer", config=late, **fields) == Code.FAILED_PRECONDITION
    remove_pod(daemon, pod)


@pytest.mark.fact("StartContainer")
@pytest.mark.parametrize("handler", ["crun", "runc"])
def test_a_start_that_fails(daemon: Daemon, handler: str) -> None:
    """StartContainer: a command that cannot be executed leaves EXITED with reason and message, if it was created."""
    pod = run_pod(daemon, handler=handler)
    config = container_config(command=["/etc/passwd"])
    try:
        one = create(daemon, pod, config)
    except grpc.RpcError as error:
        assert "/etc/passwd" in error.details()  # noqa: PT017
    else:
        assert code_of(daemon, "StartContainer", container_id=one) != Code.INTERNAL
        found = wait_exited(daemon, one)
        assert found.reason
        assert "/etc/passwd" in found.message
        assert found.exit_code != 0
        assert found.finished_at > 0
    remove_pod(daemon, pod)


@pytest.mark.fact("ListContainers", "ContainerStatus")
@pytest.mark.parametrize(
    ("script", "code", "reason"),
    [("exit 0", 0, "Completed"), ("exit 9", 9, "Error"), ("x=x; while :; do x=$x$x$x; done", 137, "OOMKilled")],
)
def test_reasons(daemon: Daemon, script: str, code: int, reason: str) -> None:
    """ContainerStatus: reason Completed, Error or OOMKilled, with times in order."""
    pod = run_pod(daemon)
    config = container_config(command=["sh", "-c", script])
    config.linux.resources.memory_limit_in_bytes = 32 << 20
    config.linux.resources.memory_swap_limit_in_bytes = 32 << 20
    one = start(daemon, pod, config)
    found = wait_exited(daemon, one)
    assert (found.exit_code, found.reason) == (code, reason)
    assert found.created_at <= found.started_at <= found.finished_at
    remove_pod(daemon, pod)


def is_ready(daemon: Daemon, container: str) -> bool:
    return execute(daemon, container, "test", "-e", "/ready")[0] == 0


@pytest.mark.fact("StopContainer", "Signal names")
def test_stop_signals(daemon: Daemon) -> None:
    """StopContainer: the container's stop signal; without one the default; a pod sees it in ContainerStatus."""
    pod = run_pod(daemon)
    script = "trap 'exit 21' USR1; trap 'exit 22' TERM; echo ok > /ready; while :; do sleep 0.05; done"
    for name, number, code in (("own", cri.SIGNAL_SIGUSR1, 21), ("none", cri.SIGNAL_RUNTIME_DEFAULT, 22)):
        config = container_config(name, command=["sh", "-c", script], stop_signal=number)
        one = start(daemon, pod, config)
        eventually(functools.partial(is_ready, daemon, one), "its traps are set")
        daemon.call("StopContainer", container_id=one, timeout=20)
        found = status(daemon, one)
        assert (found.exit_code, found.stop_signal) == (code, number or cri.SIGNAL_SIGTERM)
    remove_pod(daemon, pod)


@pytest.mark.fact("StopContainer")
def test_the_images_stop_signal(daemon: Daemon, tmp_path: Path) -> None:
    """StopContainer: without a stop signal of its own a container gets its image's, and the status says so."""
    name, archive = "localhost/facts/signal:1", tmp_path / "signal.tar"
    build = [sys.executable, str(Path(__file__).parents[3] / "hack/build-images"), "--demo", str(archive)]
    subprocess.run([*build, "--name", name, "--config", '{"StopSignal": "SIGUSR2"}'], check=True, capture_output=True)
    assert daemon.command("images", "import", str(archive)).returncode == 0
    pod = run_pod(daemon)
    script = "trap 'exit 23' USR2; echo ok > /ready; while :; do sleep 0.05; done"
    config = container_config(command=["sh", "-c", script])
    config.image.image = name
    one = start(daemon, pod, config)
    eventually(functools.partial(is_ready, daemon, one), "its trap is set")
    daemon.call("StopContainer", container_id=one, timeout=20)
    found = status(daemon, one)
    assert (found.exit_code, found.stop_signal) == (23, cri.SIGNAL_SIGUSR2)
    remove_pod(daemon, pod)
    daemon.call("RemoveImage", image=cri.ImageSpec(image=name))


@pytest.mark.fact("StopContainer")
def test_stop_that_gets_hasty(daemon: Daemon) -> None:
    """StopContainer: a second Stop with a shorter timeout takes effect, 0 at once; both return; again is no error."""
    pod = run_pod(daemon)
    one = start(daemon, pod, container_config(command=["sh", "-c", "trap : TERM; while :; do sleep 0.05; done"]))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        patient = pool.submit(daemon.call, "StopContainer", container_id=one, timeout=100)
        assert not concurrent.futures.wait([patient], 0.3).done
        began = time.monotonic()
        daemon.call("StopContainer", container_id=one, timeout=0)
        patient.result(10)
        assert time.monotonic() - began < 5
    daemon.call("StopContainer", container_id=one, timeout=0)
    remove_pod(daemon, pod)


@pytest.mark.fact("RemoveContainer")
def test_remove_in_every_state(daemon: Daemon) -> None:
    """RemoveContainer: CREATED, RUNNING and EXITED; a second time too; its name is free afterwards."""
    pod = run_pod(daemon)
    for prepare in (create, start):
        one = prepare(daemon, pod)
        for _ in range(2):
            daemon.call("RemoveContainer", container_id=one)
    ended = start(daemon, pod, container_config(command=["true"]))
    wait_exited(daemon, ended)
    daemon.call("RemoveContainer", container_id=ended)
    assert not daemon.call("ListContainers").containers
    remove_pod(daemon, pod)


@pytest.mark.fact("PID mode")
def test_pid_target(daemon: Daemon) -> None:
    """PID mode TARGET: joins a running container of the same pod; an ended one, another pod's, none: refused."""
    pod, other = run_pod(daemon), run_pod(daemon)
    target, foreign = start(daemon, pod), start(daemon, other)
    ended = start(daemon, pod, container_config("ended", command=["true"]))
    wait_exited(daemon, ended)
    wish = container_config("debugger", command=IDLE)
    options = wish.linux.security_context.namespace_options
    options.pid = cri.TARGET
    for bad in (ended, foreign, "beef" * 16, ""):
        options.target_id = bad
        fields = {"pod_sandbox_id": pod, "config": wish, "sandbox_config": pod_config()}
        assert code_of(daemon, "CreateContainer", **fields) in (
            Code.FAILED_PRECONDITION,
            Code.NOT_FOUND,
            Code.INVALID_ARGUMENT,
        )
    options.target_id = target
    one = start(daemon, pod, wish)
    assert "trap" in execute(daemon, one, "cat", "/proc/1/cmdline")[1]
    remove_pod(daemon, pod)
    remove_pod(daemon, other)


@pytest.mark.fact("UpdateContainerResources")
def test_update_before_start(daemon: Daemon) -> None:
    """UpdateContainerResources: before the start too, reflected by ContainerStatus at once and in force afterwards."""
    pod = run_pod(daemon)
    one = create(daemon, pod)
    wanted = cri.LinuxContainerResources(memory_limit_in_bytes=64 << 20, oom_score_adj=400)
    daemon.call("UpdateContainerResources", container_id=one, linux=wanted)
    shown = status(daemon, one).resources.linux
    assert (shown.memory_limit_in_bytes, shown.oom_score_adj) == (64 << 20, 400)
    daemon.call("StartContainer", container_id=one)
    assert execute(daemon, one, "cat", "/proc/1/oom_score_adj") == (0, "400\n")
    remove_pod(daemon, pod)
