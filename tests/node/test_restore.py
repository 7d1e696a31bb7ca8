"""CreateContainer from a checkpoint's archive, and its StartContainer: a container goes on in another pod."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.support.daemon import Daemon, eventually
from tests.support.pods import container_config, create, execute, pod_config, remove_pod, run_pod, start, status

CRIU = subprocess.run(["sh", "-c", "criu check"], capture_output=True, check=False).returncode == 0
pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(not CRIU, reason="no criu that works on this kernel: hack/newer criu"),
]
COUNTING = [
    "sh",
    "-c",
    "echo kept > /kept; rm /etc/group; i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.02; done",
]


@pytest.fixture(scope="module")
def archive(node: Daemon) -> Iterator[Path]:
    """A checkpoint of a container that counts, and had come to 5; the pod it was in is gone."""
    pod = run_pod(node, handler="runc")
    container = start(node, pod, container_config(command=COUNTING))
    eventually(lambda: count(node, container) > 5, "it counts")
    directory = node.directory / "checkpoints"
    directory.mkdir(mode=0o700, exist_ok=True)
    node.call("CheckpointContainer", container_id=container, location=str(directory / "c.tar"), deadline=60)
    remove_pod(node, pod)
    yield directory / "c.tar"
    (directory / "c.tar").unlink()


@pytest.fixture
def pod(daemon: Daemon, tmp_path: Path) -> Iterator[str]:
    id = run_pod(daemon, pod_config(log_directory=str(tmp_path)), handler="runc")
    yield id
    remove_pod(daemon, id)


def count(daemon: Daemon, container: str) -> int:
    return int(execute(daemon, container, "cat", "/count")[1] or 0)


def wish(archive: Path, **fields: Any) -> cri.ContainerConfig:
    config = container_config(command=[], **fields)
    config.image.image = str(archive)
    return config


def test_it_goes_on_in_another_pod(daemon: Daemon, archive: Path, pod: str) -> None:
    """Nothing runs before the start; then the processes go on with their memory and files, once."""
    container = create(daemon, pod, wish(archive))
    assert status(daemon, container).state == cri.CONTAINER_CREATED
    assert (daemon.state / "writable" / container / "checkpoint").is_dir()
    daemon.call("StartContainer", container_id=container)
    assert status(daemon, container).state == cri.CONTAINER_RUNNING
    before = count(daemon, container)
    assert before > 5
    eventually(lambda: count(daemon, container) > before, "it counts on")
    assert execute(daemon, container, "cat", "/kept") == (0, "kept\n")
    assert execute(daemon, container, "cat", "/etc/group")[0] != 0
    assert not (daemon.state / "writable" / container / "checkpoint").exists()
    with pytest.raises(grpc.RpcError) as caught:
        daemon.call("StartContainer", container_id=container)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    daemon.call("StopContainer", container_id=container, timeout=0)
    assert (status(daemon, container).state, status(daemon, container).exit_code) == (cri.CONTAINER_EXITED, 137)


def test_a_file_that_grows_all_the_time(daemon: Daemon, archive: Path, pod: str) -> None:
    """The layer is of the moment of the processes: criu refuses an open file of another length."""
    grows = "exec 3> /grows; i=0; while :; do i=$((i+1)); echo $i >&3; echo $i > /count; done"
    source = start(daemon, pod, container_config("grows", command=["sh", "-c", grows]))
    eventually(lambda: count(daemon, source) > 100, "it writes")
    kept = archive.with_name("grows.tar")
    daemon.call("CheckpointContainer", container_id=source, location=str(kept), deadline=60)
    before = count(daemon, source)
    eventually(lambda: count(daemon, source) > before, "it goes on")
    try:
        container = create(daemon, pod, wish(kept, name="again"))
        daemon.call("StartContainer", container_id=container)
        before = count(daemon, container)
        eventually(lambda: count(daemon, container) > before, "its copy goes on")
    finally:
        kept.unlink()


@pytest.mark.parametrize("end", ["StopContainer", "RemoveContainer", "StopPodSandbox"])
def test_one_that_waits_is_ended(daemon: Daemon, archive: Path, pod: str, end: str) -> None:
    """It has no process to end, and no monitor to see it."""
    container = create(daemon, pod, wish(archive))
    if end == "StopPodSandbox":
        daemon.call(end, pod_sandbox_id=pod)
    else:
        daemon.call(end, container_id=container)
    if end != "RemoveContainer":
        assert (status(daemon, container).state, status(daemon, container).exit_code) == (cri.CONTAINER_EXITED, 137)


def test_a_killed_daemon(daemon: Daemon, archive: Path, pod: str) -> None:
    """One that waits waits on, and is restored by the next daemon; what was restored runs on."""
    container, other = create(daemon, pod, wish(archive)), create(daemon, pod, wish(archive, name="other"))
    daemon.call("StartContainer", container_id=other)
    daemon.kill()
    daemon.start()
    assert status(daemon, container).state == cri.CONTAINER_CREATED
    assert status(daemon, other).state == cri.CONTAINER_RUNNING
    before = count(daemon, other)
    eventually(lambda: count(daemon, other) > before, "it counts on")
    daemon.call("StartContainer", container_id=container)
    eventually(lambda: count(daemon, container) > 5, "it counts on")


def refused(daemon: Daemon, pod: str, config: cri.ContainerConfig) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        create(daemon, pod, config)
    assert not daemon.call("ListContainers", filter=cri.ContainerFilter(pod_sandbox_id=pod)).containers
    assert list((daemon.state / "writable").iterdir()) == []
    return caught.value.code(), caught.value.details()


def test_what_it_cannot_be(daemon: Daemon, archive: Path, pod: str, tmp_path: Path) -> None:
    """A request for something else than the checkpoint is refused before anything runs, and leaves nothing."""
    config = wish(archive)
    config.mounts.add(container_path="/data", host_path=str(tmp_path))
    code, said = refused(daemon, pod, config)
    assert (code, "the request has a mount at /data" in said) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    config = wish(archive)
    config.linux.security_context.run_as_user.value = 1000
    code, said = refused(daemon, pod, config)
    assert (code, "the user was (0, 0" in said) == (grpc.StatusCode.INVALID_ARGUMENT, True)


def test_whose_file_it_is(daemon: Daemon, archive: Path, pod: str, tmp_path: Path) -> None:
    """One that lies elsewhere, is not there, or that others may write."""
    elsewhere = tmp_path / "c.tar"
    elsewhere.write_bytes(archive.read_bytes())
    assert refused(daemon, pod, wish(elsewhere))[0] == grpc.StatusCode.PERMISSION_DENIED
    assert refused(daemon, pod, wish(archive.with_name("none.tar")))[0] == grpc.StatusCode.NOT_FOUND
    archive.chmod(0o666)
    try:
        assert refused(daemon, pod, wish(archive))[0] == grpc.StatusCode.PERMISSION_DENIED
    finally:
        archive.chmod(0o600)


def test_another_runtime(daemon: Daemon, archive: Path) -> None:
    """A pod of crun takes no checkpoint by runc: it may not be able to restore at all, and says which it is."""
    pod = run_pod(daemon, handler="crun")
    try:
        code, said = refused(daemon, pod, wish(archive))
        assert code in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INVALID_ARGUMENT), said
        assert "crun" in said
    finally:
        remove_pod(daemon, pod)


def test_a_restore_that_fails(daemon: Daemon, archive: Path, pod: str) -> None:
    """Images that criu cannot read: StartError with criu's words, and nothing runs."""
    container = create(daemon, pod, wish(archive))
    images = daemon.state / "writable" / container / "checkpoint"
    (images / "inventory.img").write_bytes(b"nothing")
    with pytest.raises(grpc.RpcError) as caught:
        daemon.call("StartContainer", container_id=container)
    assert "cannot be restored" in caught.value.details()
    assert "criu: " in caught.value.details()
    ended = status(daemon, container)
    assert (ended.state, ended.reason, ended.exit_code) == (cri.CONTAINER_EXITED, "StartError", 128)
