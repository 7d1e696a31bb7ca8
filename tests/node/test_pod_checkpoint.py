"""CheckpointPod and RestorePod: a pod's containers at one moment, and a pod made of them."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from crishim.linux import cgroups
from crishim.pb import cri_pb2 as cri
from tests.support.daemon import Daemon, eventually
from tests.support.isolation import ip
from tests.support.pods import annotated, container_config, execute, pod_config, remove_pod, run_pod, start, status

CRIU = subprocess.run(["sh", "-c", "criu check"], capture_output=True, check=False).returncode == 0
pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(not CRIU, reason="no criu that works on this kernel: hack/newer criu"),
]
Code = grpc.StatusCode
# A file of a volume that is open keeps its length: it is not kept with the checkpoint, and criu compares.
COUNTING = [
    "sh",
    "-c",
    "i=0; while :; do i=$((i+1)); echo $i > /count; printf %08d $i 1<> /shared/$NAME; sleep 0.02; done",
]


def counting(name: str, shared: Path) -> cri.ContainerConfig:
    config = container_config(name, command=COUNTING, envs=[cri.KeyValue(key="NAME", value=name.encode())])
    config.mounts.add(container_path="/shared", host_path=str(shared))
    return config


def count(daemon: Daemon, container: str) -> int:
    return int(execute(daemon, container, "cat", "/count")[1] or 0)


def goes_on(daemon: Daemon, container: str) -> None:
    before = count(daemon, container)
    eventually(lambda: count(daemon, container) > before, "it counts on")


@pytest.fixture
def pod(daemon: Daemon) -> Iterator[str]:
    id = run_pod(daemon, handler="runc")
    yield id
    remove_pod(daemon, id)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    (tmp_path / "shared").mkdir()
    return tmp_path / "shared"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "output").mkdir(mode=0o700)
    return tmp_path / "output"


def refused(daemon: Daemon, name: str, **request: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        daemon.call(name, **request)
    return caught.value.code(), caught.value.details()


def restore(daemon: Daemon, output: Path, configs: list[cri.ContainerConfig], **fields: Any) -> dict[str, Any]:
    config = fields.pop("config", None) or pod_config()
    return {"checkpoint_path": str(output), "config": config, "runtime_handler": "runc", "container_configs": configs}


@pytest.mark.fact("CheckpointPod", "RestorePod")
def test_a_pod_and_its_copy(daemon: Daemon, pod: str, output: Path, shared: Path) -> None:
    """Row CheckpointPod / RestorePod: one moment in an empty directory, and a pod of it with CREATED containers."""
    configs = [counting("a", shared), counting("b", shared)]
    ids = [start(daemon, pod, config) for config in configs]
    for id in ids:
        goes_on(daemon, id)
    daemon.call("CheckpointPod", pod_sandbox_id=pod, output_path=str(output), container_ids=ids, deadline=60)
    for id in ids:
        goes_on(daemon, id)
    assert sorted(p.name for p in output.iterdir()) == ["checkpoint.json", "container-0.tar", "container-1.tar"]
    assert {p.stat().st_mode & 0o777 for p in output.iterdir()} == {0o600}
    assert list((daemon.state / "checkpoints").iterdir()) == []
    request = restore(daemon, output, configs)
    answer = daemon.call("RestorePod", **request)
    try:
        made = {each.name: each.container_id for each in answer.restored_containers}
        assert made.keys() == {"a", "b"}
        again = daemon.call("RestorePod", **request)  # its answer had got lost
        assert again.pod_sandbox_id == answer.pod_sandbox_id
        assert {each.container_id for each in again.restored_containers} == set(made.values())
        for id in made.values():
            assert status(daemon, id).state == cri.CONTAINER_CREATED
            daemon.call("StartContainer", container_id=id)
            goes_on(daemon, id)
    finally:
        remove_pod(daemon, answer.pod_sandbox_id)


def test_requests_to_checkpoint_that_cannot_be(daemon: Daemon, pod: str, output: Path, shared: Path) -> None:
    """Each is refused with the thing in its text, the directory stays as it was, the container goes on."""
    id = start(daemon, pod, counting("a", shared))
    waiting = daemon.call("CreateContainer", pod_sandbox_id=pod, config=container_config("w")).container_id
    full = output / "full"
    full.mkdir()
    (full / "x").touch()
    good: dict[str, Any] = {"pod_sandbox_id": pod, "output_path": str(output / "empty"), "container_ids": [id]}
    (output / "empty").mkdir()
    cases: list[tuple[dict[str, Any], grpc.StatusCode, str]] = [
        ({"options": {"fast": "yes"}}, Code.INVALID_ARGUMENT, "fast"),
        ({"container_ids": []}, Code.INVALID_ARGUMENT, "no container"),
        ({"container_ids": [id, id]}, Code.INVALID_ARGUMENT, "more than once"),
        ({"container_ids": [id, waiting]}, Code.FAILED_PRECONDITION, "created"),
        ({"container_ids": ["f" * 64]}, Code.NOT_FOUND, "f" * 20),
        ({"output_path": "relative"}, Code.INVALID_ARGUMENT, "relative"),
        ({"output_path": str(full)}, Code.INVALID_ARGUMENT, "not empty"),
        ({"output_path": str(output / "none")}, Code.INVALID_ARGUMENT, "none"),
        ({"pod_sandbox_id": "f" * 64}, Code.NOT_FOUND, "f" * 20),
    ]
    for change, code, text in cases:
        found, said = refused(daemon, "CheckpointPod", **(good | change))
        assert (found, text in said) == (code, True), said
    assert list((output / "empty").iterdir()) == []
    goes_on(daemon, id)


def test_one_that_criu_cannot_keep(daemon: Daemon, pod: str, output: Path, shared: Path) -> None:
    """The second of two: both run again, and nothing is in the directory."""
    bad = container_config("z", command=["sh", "-c", f"busybox unshare -u sleep 1000 & {COUNTING[2]}"])
    bad.mounts.add(container_path="/shared", host_path=str(shared))
    bad.linux.security_context.capabilities.add_capabilities.append("SYS_ADMIN")
    bad.linux.security_context.seccomp.profile_type = cri.SecurityProfile.Unconfined
    ids = [start(daemon, pod, counting("a", shared)), start(daemon, pod, bad)]
    for id in ids:
        goes_on(daemon, id)
    code, said = refused(
        daemon, "CheckpointPod", pod_sandbox_id=pod, output_path=str(output), container_ids=ids, deadline=60
    )
    assert (code, "cannot be checkpointed" in said) == (Code.INTERNAL, True)
    assert list(output.iterdir()) == []
    for id in ids:
        goes_on(daemon, id)


def call_until_paused(daemon: Daemon, name: str, request: Any, ids: list[str]) -> Any:
    """A CheckpointPod or CheckpointContainer that is at work: all containers are frozen."""
    assert daemon._channel is not None
    method = daemon._channel.unary_unary(
        f"/runtime.v1.RuntimeService/{name}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=getattr(cri, f"{name}Response").FromString,
    )
    call = method.future(request, timeout=60)
    eventually(lambda: all(paused(daemon, id) for id in ids), "all are paused")
    return call


def paused(daemon: Daemon, id: str) -> bool:
    group = json.loads((daemon.state / "containers" / f"{id}.json").read_text())["cgroup"]
    files = [d / name for d in cgroups.directories(group) for name in ("freezer.state", "cgroup.freeze")]
    return any(f.read_text().strip() in ("FROZEN", "1") for f in files if f.exists())


def cleaned_up(daemon: Daemon) -> bool:
    return not list((daemon.state / "checkpoints").iterdir())


def test_a_client_that_gives_up(daemon: Daemon, pod: str, output: Path, shared: Path) -> None:
    """Its deadline resumes the containers and empties the directory."""
    ids = [start(daemon, pod, counting(name, shared)) for name in ("a", "b")]
    request = cri.CheckpointPodRequest(pod_sandbox_id=pod, output_path=str(output), container_ids=ids)
    call = call_until_paused(daemon, "CheckpointPod", request, ids)
    call.cancel()
    for id in ids:
        goes_on(daemon, id)
    eventually(lambda: cleaned_up(daemon), "it is cleaned up")
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("name", ["CheckpointPod", "CheckpointContainer"])
def test_a_killed_daemon(daemon: Daemon, pod: str, output: Path, shared: Path, name: str) -> None:
    """The next one resumes what it had paused, after whatever its criu still did."""
    ids = [start(daemon, pod, counting(each, shared)) for each in ("a", "b")]
    request: Any = cri.CheckpointPodRequest(pod_sandbox_id=pod, output_path=str(output), container_ids=ids)
    if name == "CheckpointContainer":
        ids = ids[:1]
        request = cri.CheckpointContainerRequest(container_id=ids[0], location=str(output / "c.tar"))
    call = call_until_paused(daemon, name, request, ids)
    daemon.kill()
    try:
        assert call.code() != Code.OK
        # Not "all are paused": criu itself resumes what it has seized, and seizes each task instead.
        assert not cleaned_up(daemon), "the daemon was killed in the middle of it"
    finally:
        daemon.start()
    eventually(lambda: cleaned_up(daemon), "it is cleaned up")
    for id in ids:
        goes_on(daemon, id)


def test_requests_to_restore_that_cannot_be(daemon: Daemon, pod: str, output: Path, shared: Path) -> None:
    """Refused with the thing in its text; no pod is left, and the checkpoint is as it was."""
    config = counting("a", shared)
    id = start(daemon, pod, config)
    goes_on(daemon, id)
    daemon.call("CheckpointPod", pod_sandbox_id=pod, output_path=str(output), container_ids=[id], deadline=60)
    before = {p.name: p.stat().st_mtime_ns for p in output.iterdir()}
    other = counting("a", shared)
    other.envs[0].value = b"b"
    elsewhere = counting("a", shared)
    elsewhere.image.image = "localhost/other:1"
    good = restore(daemon, output, [config])
    cases: list[tuple[dict[str, Any], grpc.StatusCode, str]] = [
        ({"options": {"fast": "yes"}}, Code.INVALID_ARGUMENT, "fast"),
        ({"checkpoint_path": "relative"}, Code.INVALID_ARGUMENT, "relative"),
        ({"checkpoint_path": str(shared)}, Code.NOT_FOUND, "checkpoint.json"),
        ({"container_configs": []}, Code.INVALID_ARGUMENT, "no container"),
        ({"container_configs": [config, config]}, Code.INVALID_ARGUMENT, "more than once"),
        ({"container_configs": [counting("b", shared)]}, Code.INVALID_ARGUMENT, "no container 'b'"),
        ({"container_configs": [other]}, Code.INVALID_ARGUMENT, "variable NAME"),
        ({"container_configs": [elsewhere]}, Code.INVALID_ARGUMENT, "localhost/other:1"),
        ({"runtime_handler": "none"}, Code.INVALID_ARGUMENT, "none"),
    ]
    for change, code, text in cases:
        found, said = refused(daemon, "RestorePod", **(good | change))
        assert (found, text in said) == (code, True), said
    assert {p.name: p.stat().st_mtime_ns for p in output.iterdir()} == before
    assert [p.id for p in daemon.call("ListPodSandbox").items] == [pod]
    manifest = json.loads((output / "checkpoint.json").read_text())
    manifest["containers"][0]["file"] = "../container-0.tar"
    (output / "checkpoint.json").write_text(json.dumps(manifest))
    assert "this version of crishim did not write it" in refused(daemon, "RestorePod", **good)[1]
    output.chmod(0o777)
    assert refused(daemon, "RestorePod", **good)[0] == Code.PERMISSION_DENIED
    output.chmod(0o700)


def test_devices(daemon: Daemon, output: Path, shared: Path) -> None:
    """A restored pod has its network device back by its name there, or is refused with the device named."""
    ip("link", "add", "kept0", "type", "ifb")
    ip("address", "add", "192.0.2.88/24", "dev", "kept0")
    config, sandbox = counting("a", shared), pod_config(annotations=annotated(kept0="net1"))
    pods = [run_pod(daemon, sandbox, handler="runc")]
    try:
        id = start(daemon, pods[0], config)
        goes_on(daemon, id)
        daemon.call("CheckpointPod", pod_sandbox_id=pods[0], output_path=str(output), container_ids=[id], deadline=60)
        taken = refused(daemon, "RestorePod", **restore(daemon, output, [config], config=again(sandbox)))
        assert (taken[0], "kept0" in taken[1]) == (Code.ABORTED, True), taken  # the pod has it still
        remove_pod(daemon, pods.pop())
        code, said = refused(daemon, "RestorePod", **restore(daemon, output, [config]))
        assert (code, "network device net1 (kept0" in said) == (Code.INVALID_ARGUMENT, True), said
        answer = daemon.call("RestorePod", **restore(daemon, output, [config], config=again(sandbox)))
        pods.append(answer.pod_sandbox_id)
        id = answer.restored_containers[0].container_id
        daemon.call("StartContainer", container_id=id)
        goes_on(daemon, id)
        assert "192.0.2.88/24" in execute(daemon, id, "ip", "addr", "show", "dev", "net1")[1]
    finally:
        for pod in pods:
            remove_pod(daemon, pod)
        assert "192.0.2.88/24" in ip("address", "show", "dev", "kept0")
        ip("link", "delete", "kept0")


def again(sandbox: cri.PodSandboxConfig) -> cri.PodSandboxConfig:
    """The same pod by another name."""
    other = pod_config()
    other.annotations.update(sandbox.annotations)
    return other
