"""The runtime as a whole, and what holds for every call: Version, Status, RuntimeConfig, recovery, lists, codes."""

import concurrent.futures
import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.support.daemon import METHODS, Daemon, eventually
from tests.support.pods import container_config, create, pod_config, remove_pod, run_pod, start, status

pytestmark = pytest.mark.node
Code = grpc.StatusCode
AT_ONCE = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 50)]
SEMVER = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?"


@contextlib.contextmanager
def plugin(daemon: Daemon, script: str) -> Iterator[Path]:
    """A portmap that runs a script and is the real one afterwards. The file in it: while it exists, it may wait."""
    held = daemon.directory / "held"
    held.touch()
    path = daemon.plugins / "portmap"
    real = next(p for d in ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni") if (p := Path(d, "portmap")).exists())
    path.write_text(f'#!/bin/sh\nHELD={held}\n{script}\nexec {real} "$@"\n')
    path.chmod(0o755)
    try:
        yield held
    finally:
        held.unlink(missing_ok=True)
        path.unlink()
        held.with_suffix(".seen").unlink(missing_ok=True)


HOLD_DEL = 'test "$CNI_COMMAND" != DEL || while test -e $HELD; do : > $HELD.seen; sleep 0.02; done'
HOLD = {"DEL": HOLD_DEL, "ADD": HOLD_DEL.replace("DEL", "ADD")}


def seen(held: Path) -> bool:
    mark = held.with_suffix(".seen")
    found = mark.exists()
    mark.unlink(missing_ok=True)
    return found


@pytest.mark.fact("Version")
def test_version(daemon: Daemon) -> None:
    """Version: four fields, the runtime API's numbers, and a runtime version that is a semantic one."""
    answer = daemon.call("Version", version="0.1.0")
    assert (answer.version, answer.runtime_api_version) == ("0.1.0", "v1")
    assert answer.runtime_name
    assert re.fullmatch(SEMVER, answer.runtime_version)


@pytest.mark.fact("Status", "recursive_read_only", "mount_options")
def test_status(daemon: Daemon) -> None:
    """Status: both conditions, handlers with "" among them, the node's features; info only when it is asked for."""
    answer = daemon.call("Status")
    assert {c.type: c.status for c in answer.status.conditions} == {"RuntimeReady": True, "NetworkReady": True}
    assert not answer.info
    assert {h.name for h in answer.runtime_handlers} == {"", "crun", "runc"}
    features = {h.name: h.features for h in answer.runtime_handlers}
    assert features[""] == features["crun"]
    assert features["runc"].recursive_read_only_mounts
    assert all(f.user_namespaces for f in features.values())
    assert answer.features.supplemental_groups_policy
    assert answer.features.mount_options
    info = json.loads(daemon.call("Status", verbose=True).info["config"])
    assert Path(info["stateDir"]) == daemon.state


@pytest.mark.fact("RuntimeConfig")
def test_runtime_config(daemon: Daemon) -> None:
    """RuntimeConfig: the cgroup driver is said, since the definition's default is the other one."""
    answer = daemon.call("RuntimeConfig")
    assert answer.HasField("linux")
    assert answer.linux.cgroup_driver == cri.CGROUPFS


@pytest.mark.fact("UpdateRuntimeConfig")
def test_update_runtime_config(daemon: Daemon) -> None:
    """UpdateRuntimeConfig: a pod_cidr of one family or both is accepted, none is ignored, nonsense is refused."""
    for cidr in ("10.200.0.0/16", "10.200.0.0/16,fd00:10::/64", ""):
        config = cri.RuntimeConfig(network_config=cri.NetworkConfig(pod_cidr=cidr))
        daemon.call("UpdateRuntimeConfig", runtime_config=config)
    daemon.call("UpdateRuntimeConfig")
    with pytest.raises(grpc.RpcError) as caught:
        daemon.call(
            "UpdateRuntimeConfig", runtime_config=cri.RuntimeConfig(network_config=cri.NetworkConfig(pod_cidr="many"))
        )
    assert caught.value.code() == Code.INVALID_ARGUMENT


@pytest.mark.fact("UNIMPLEMENTED only where it is")
def test_every_rpc_is_there(daemon: Daemon) -> None:
    """All RPCs of the definition; without criu those of checkpoints say in their first answer what is wrong before."""
    absent = set()
    for name, (service, method) in METHODS.items():
        if not service.startswith("runtime.v1.") or name == "GetContainerEvents":
            continue
        try:
            daemon.call(name)
        except grpc.RpcError as error:
            if error.code() == Code.UNIMPLEMENTED:
                absent.add(name)
            assert error.code() != Code.INTERNAL, f"{name}: {error.details()}"  # noqa: PT017
        assert method.name == name
    assert absent == set()


@pytest.mark.fact(
    "StreamPodSandboxes",
    "StreamContainers",
    "StreamContainerStats",
    "StreamPodSandboxStats",
    "StreamPodSandboxMetrics",
    "StreamImages",
    "no Stream* is UNIMPLEMENTED",
)
def test_streamed_lists(daemon: Daemon) -> None:
    """Stream*: each item once in batches that are never empty; an empty list ends at once; none is UNIMPLEMENTED."""
    parts = {
        "StreamPodSandboxes": "pod_sandboxes",
        "StreamContainers": "containers",
        "StreamContainerStats": "container_stats",
        "StreamPodSandboxStats": "pod_sandbox_stats",
        "StreamPodSandboxMetrics": "pod_sandbox_metrics",
        "StreamImages": "images",
    }
    asked = {n for n, (service, _) in METHODS.items() if n.startswith("Stream") and service.startswith("runtime.v1.")}
    assert asked == set(parts)
    for name in set(parts) - {"StreamImages"}:
        assert daemon.call(name) == [], name
    config = pod_config()
    config.linux.security_context.namespace_options.network = cri.NODE
    pods = [run_pod(daemon, config)]
    for number in range(3):
        create(daemon, pods[0], container_config(f"c{number}"))
    for name in parts:
        batches = daemon.call(name)
        assert batches, name
        (field,) = [f.name for f in batches[0].DESCRIPTOR.fields]
        lengths = [len(getattr(b, field)) for b in batches]
        assert all(lengths), name
        expected = 3 if name.startswith("StreamContainer") else 1
        assert sum(lengths) == expected, name
    remove_pod(daemon, pods[0])


def quick(daemon: Daemon) -> None:
    """Every everyday question is answered at once."""
    for name in ("ListPodSandbox", "ListContainers", "Version", "Status", "ListContainerStats", "ListPodSandboxStats"):
        began = time.monotonic()
        daemon.call(name, deadline=10)
        assert time.monotonic() - began < 5, name


@pytest.mark.fact("List never waits")
@pytest.mark.parametrize("stage", ["ADD", "DEL"])
def test_lists_wait_for_no_pod(daemon: Daemon, stage: str) -> None:
    """List never waits: a network plugin that hangs holds up its own pod only, when run and when stopped."""
    bystander = run_pod(daemon)
    slow = "" if stage == "ADD" else run_pod(daemon)
    with concurrent.futures.ThreadPoolExecutor() as pool, plugin(daemon, HOLD[stage]) as held:
        call = pool.submit(run_pod, daemon) if stage == "ADD" else pool.submit(stop, daemon, slow)
        eventually(lambda: seen(held), "the plugin hangs")
        quick(daemon)
        daemon.call("PodSandboxStatus", pod_sandbox_id=bystander, deadline=5)
        if slow:
            stuck = daemon.call("PodSandboxStatus", pod_sandbox_id=slow, deadline=5).status
            assert stuck.state == cri.SANDBOX_NOTREADY
        else:
            assert [p.id for p in daemon.call("ListPodSandbox").items] == [bystander]
        one = start(daemon, bystander)
        daemon.call("StopContainer", container_id=one, timeout=0, deadline=10)
        held.unlink()
        slow = call.result() or slow
    remove_pod(daemon, bystander)
    remove_pod(daemon, slow)


def stop(daemon: Daemon, pod: str) -> None:
    daemon.call("StopPodSandbox", pod_sandbox_id=pod)


@pytest.mark.fact("List never waits")
def test_a_container_that_takes_its_time_delays_no_list(daemon: Daemon) -> None:
    """List never waits: a StopContainer with a long grace, and an ExecSync that hangs, hold up nothing else."""
    pod = run_pod(daemon)
    one = start(daemon, pod, container_config(command=["sh", "-c", "trap : TERM; while :; do sleep 0.05; done"]))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        hanging = pool.submit(daemon.call, "ExecSync", container_id=one, cmd=["sleep", "60"])
        patient = pool.submit(daemon.call, "StopContainer", container_id=one, timeout=60)
        quick(daemon)
        assert status(daemon, one).state == cri.CONTAINER_RUNNING
        daemon.call("StopContainer", container_id=one, timeout=0)
        patient.result(5)
        assert hanging.exception(5) is None or isinstance(hanging.exception(), grpc.RpcError)
    remove_pod(daemon, pod)


@pytest.mark.fact("Version", "answers during recovery")
def test_version_during_recovery(daemon: Daemon) -> None:
    """Version, RuntimeConfig and questions answer while a start still recovers; an exec says UNAVAILABLE at once."""
    pod = run_pod(daemon)
    with plugin(daemon, HOLD_DEL) as held, concurrent.futures.ThreadPoolExecutor() as pool:
        call = pool.submit(stop, daemon, pod)
        eventually(lambda: seen(held), "the plugin hangs")
        daemon.kill()
        assert isinstance(call.exception(), grpc.RpcError)
        starting = threading.Thread(target=daemon.start)
        starting.start()
        try:
            with grpc.insecure_channel(f"unix:{daemon.socket}", options=AT_ONCE) as channel:

                def ask(name: str) -> grpc.StatusCode:
                    ask_it = channel.unary_unary(f"/runtime.v1.RuntimeService/{name}")
                    try:
                        ask_it(b"", timeout=20, wait_for_ready=True)
                    except grpc.RpcError as error:
                        code: grpc.StatusCode = error.code()
                        return code
                    return Code.OK

                assert ask("Version") == Code.OK
                assert ask("RuntimeConfig") == Code.OK
                assert ask("ListPodSandbox") == Code.OK
                assert ask("ExecSync") == Code.UNAVAILABLE
        finally:
            held.unlink()
            starting.join(30)
    assert [p.id for p in daemon.call("ListPodSandbox").items] == [pod]
    remove_pod(daemon, pod)


@pytest.mark.fact("PodSandboxStatus", "ListContainers", "ContainerStatus", "NotFound")
def test_not_found(daemon: Daemon) -> None:
    """NotFound: ContainerStatus and PodSandboxStatus of what never was, and of what was removed, say just that code."""
    pod = run_pod(daemon)
    one = create(daemon, pod)
    remove_pod(daemon, pod)
    for id in (pod, "beef" * 16):
        with pytest.raises(grpc.RpcError) as caught:
            daemon.call("PodSandboxStatus", pod_sandbox_id=id)
        assert caught.value.code() == Code.NOT_FOUND
    for id in (one, "beef" * 16):
        for name in ("ContainerStatus", "ContainerStats"):
            with pytest.raises(grpc.RpcError) as caught:
                daemon.call(name, container_id=id)
            assert caught.value.code() == Code.NOT_FOUND


@pytest.mark.fact("16 MiB")
def test_a_large_list_fits(daemon: Daemon) -> None:
    """The client's 16 MiB: lists of much metadata are whole, plain and in batches."""
    config = pod_config(annotations={"big": "x" * 200_000})
    config.linux.security_context.namespace_options.network = cri.NODE
    pod = run_pod(daemon, config)
    for number in range(12):
        create(daemon, pod, container_config(f"c{number}", annotations={"big": "y" * 250_000}))
    assert len(daemon.call("ListContainers").containers) == 12
    assert sum(len(b.containers) for b in daemon.call("StreamContainers")) == 12
    remove_pod(daemon, pod)
