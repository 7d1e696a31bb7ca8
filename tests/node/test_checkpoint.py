"""CheckpointContainer: with a criu that works an archive while the container runs on, else a clear no."""

import json
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.support.daemon import Daemon, eventually
from tests.support.pods import container_config, execute, remove_pod, run_pod, start, status

pytestmark = pytest.mark.node
CRIU = subprocess.run(["sh", "-c", "criu check"], capture_output=True, check=False).returncode == 0
needs_criu = pytest.mark.skipif(not CRIU, reason="no criu that works on this kernel: hack/newer criu")
COUNTING = ["sh", "-c", "echo kept > /kept; i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.02; done"]


@pytest.fixture
def pod(daemon: Daemon) -> Iterator[str]:
    id = run_pod(daemon, handler="runc")
    yield id
    remove_pod(daemon, id)


def refused(daemon: Daemon, **request: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        daemon.call("CheckpointContainer", **request)
    return caught.value


def count(daemon: Daemon, container: str) -> int:
    return int(execute(daemon, container, "cat", "/count")[1] or 0)


def goes_on(daemon: Daemon, container: str) -> None:
    before = count(daemon, container)
    eventually(lambda: count(daemon, container) > before, "the container goes on")


def nothing_left(daemon: Daemon, directory: Path, *expected: str) -> None:
    assert {p.name for p in directory.iterdir()} == set(expected)
    checkpoints = daemon.state / "checkpoints"
    assert not checkpoints.exists() or list(checkpoints.iterdir()) == []


@pytest.mark.skipif(CRIU, reason="there is a criu")
@pytest.mark.fact("CheckpointContainer")
def test_a_clear_no(daemon: Daemon, pod: str, tmp_path: Path) -> None:
    """Row CheckpointContainer: UNIMPLEMENTED saying why; the container runs on."""
    container = start(daemon, pod)
    error = refused(daemon, container_id=container, location=str(tmp_path / "checkpoint.tar"))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "criu" in error.details()
    assert status(daemon, container).state == cri.CONTAINER_RUNNING
    nothing_left(daemon, tmp_path)


@needs_criu
@pytest.mark.fact("CheckpointContainer")
def test_an_archive(daemon: Daemon, pod: str, tmp_path: Path) -> None:
    """Row CheckpointContainer: at location, root's alone and whole, while the container runs on; and again."""
    container = start(daemon, pod, container_config(command=COUNTING))
    goes_on(daemon, container)
    location = tmp_path / "checkpoint.tar"
    for _ in range(2):
        daemon.call("CheckpointContainer", container_id=container, location=str(location), deadline=60)
        goes_on(daemon, container)
    assert location.stat().st_mode & 0o777 == 0o600
    with tarfile.open(location) as archive:
        names = set(archive.getnames())
        about, spec, layer = (archive.extractfile(n) for n in ("config.dump", "spec.dump", "rootfs-diff.tar"))
        assert about
        assert spec
        assert layer
        assert json.load(about)["id"] == container
        assert json.load(spec)["process"]["args"] == COUNTING
        with tarfile.open(fileobj=layer) as changed:
            assert {"./kept", "./count"} <= set(changed.getnames())
    assert {"checkpoint/inventory.img", "checkpoint/pstree.img", "checkpoint/descriptors.json", "dump.log"} <= names
    assert status(daemon, container).state == cri.CONTAINER_RUNNING
    nothing_left(daemon, tmp_path, "checkpoint.tar")


@needs_criu
def test_a_place_that_cannot_be_written(daemon: Daemon, pod: str, tmp_path: Path) -> None:
    """INVALID naming it, and the container goes on."""
    container = start(daemon, pod, container_config(command=COUNTING))
    goes_on(daemon, container)
    (tmp_path / "directory").mkdir()
    for location in (tmp_path / "none" / "checkpoint.tar", tmp_path / "directory"):
        error = refused(daemon, container_id=container, location=str(location), deadline=60)
        assert (error.code(), str(location) in error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    goes_on(daemon, container)
    nothing_left(daemon, tmp_path, "directory")


@needs_criu
def test_what_criu_cannot_keep(daemon: Daemon, pod: str, tmp_path: Path) -> None:
    """A process in a UTS namespace of its own: the runtime's words, no archive, and the container goes on."""
    config = container_config(command=["sh", "-c", f"busybox unshare -u sleep 1000 & {COUNTING[2]}"])
    config.linux.security_context.capabilities.add_capabilities.append("SYS_ADMIN")
    config.linux.security_context.seccomp.profile_type = cri.SecurityProfile.Unconfined
    container = start(daemon, pod, config)
    goes_on(daemon, container)
    error = refused(daemon, container_id=container, location=str(tmp_path / "checkpoint.tar"), deadline=60)
    assert (error.code(), "cannot be checkpointed" in error.details()) == (grpc.StatusCode.INTERNAL, True)
    goes_on(daemon, container)
    nothing_left(daemon, tmp_path)


@needs_criu
def test_a_stop_waits_for_it(daemon: Daemon, pod: str, tmp_path: Path) -> None:
    """Both work, one after the other, whichever is first: no half archive, nothing frozen."""
    container = start(daemon, pod, container_config(command=COUNTING))
    goes_on(daemon, container)
    location = tmp_path / "checkpoint.tar"
    ended: list[grpc.StatusCode] = []

    def checkpoint() -> None:
        try:
            daemon.call("CheckpointContainer", container_id=container, location=str(location), deadline=60)
        except grpc.RpcError as error:
            ended.append(error.code())

    thread = threading.Thread(target=checkpoint)
    thread.start()
    daemon.call("StopContainer", container_id=container, timeout=2)
    thread.join()
    assert status(daemon, container).state == cri.CONTAINER_EXITED
    assert ended in ([], [grpc.StatusCode.FAILED_PRECONDITION])
    assert location.exists() is not bool(ended)
    nothing_left(daemon, tmp_path, *(() if ended else ("checkpoint.tar",)))
