"""A full disk: what needs space is refused and leaves nothing; what frees space or ends something works."""

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from crishim.linux import mounts
from crishim.pb import cri_pb2 as cri
from tests.node.refusals import refused
from tests.support.daemon import Daemon, assert_clean, eventually
from tests.support.image_node import random_layer
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
from tests.support.registry import Registry
from tests.support.registry import registry as registry
from tests.support.registry import registry_files as registry_files

pytestmark = pytest.mark.node
FULL = grpc.StatusCode.RESOURCE_EXHAUSTED


class SmallDisk:
    """The state directory's file system: 24 MB."""

    def __init__(self, state: Path) -> None:
        self._file = state / "filler"

    def fill(self) -> None:
        """Until not one byte is left."""
        with self._file.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while file.write(b"x" * size) == size:
                        pass
                except OSError as error:
                    assert error.errno == errno.ENOSPC  # noqa: PT017

    def free(self) -> None:
        self._file.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def node(busybox_archive: Path, registry: Registry) -> Iterator[Daemon]:
    """A daemon whose state directory is a small file system of its own."""
    directory = Path(tempfile.mkdtemp(prefix="crishim-test-", dir="/dev/shm"))
    directory.chmod(0o711)
    conf = directory / "registries.conf"
    conf.write_text(f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n')
    daemon = Daemon(directory, {"images": {"registries_conf": str(conf)}})
    daemon.state.mkdir(mode=0o711)
    mounts.mount("tmpfs", "small", daemon.state, data="size=24m,mode=711")
    try:
        daemon.start()
        assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
        yield daemon
    finally:
        daemon.delete()


@pytest.fixture
def disk(daemon: Daemon) -> Iterator[SmallDisk]:
    disk = SmallDisk(daemon.state)
    yield disk
    disk.free()


def test_nothing_is_begun(daemon: Daemon, disk: SmallDisk) -> None:
    """RunPodSandbox and CreateContainer: RESOURCE_EXHAUSTED, no residue, and both work once there is space."""
    pod = run_pod(daemon)
    create(daemon, pod, container_config("first"))
    before = daemon.left()
    disk.fill()
    code, text = refused(run_pod, daemon)
    assert (code, "No space left" in text) == (FULL, True), text
    code, text = refused(create, daemon, pod)
    assert (code, "No space left" in text) == (FULL, True), text
    disk.free()
    assert_clean(daemon, before)
    assert wait_exited(daemon, start(daemon, pod, container_config(command=["true"]))).exit_code == 0
    remove_pod(daemon, pod)


def test_a_pull_without_space(daemon: Daemon, disk: SmallDisk, registry: Registry) -> None:
    """PullImage: RESOURCE_EXHAUSTED names the image; nothing half-usable is listed, downloads are gone."""
    registry.push(["test/large:1"], [random_layer(16)])
    image = cri.ImageSpec(image=f"{registry.address}/test/large:1")
    with (daemon.state / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 8 << 20)
    known = len(daemon.call("ListImages").images)
    code, text = refused(daemon.call, "PullImage", image=image)
    assert (code, "test/large" in text) == (FULL, True), text
    assert len(daemon.call("ListImages").images) == known
    assert not list((daemon.state / "downloads").iterdir())
    assert not list((daemon.run / "secrets").iterdir())
    disk.free()
    small = cri.ImageSpec(image=f"{registry.address}/test/smaller:1")
    registry.push(["test/smaller:1"], [random_layer(1)])
    assert daemon.call("PullImage", image=small).image_ref
    daemon.call("RemoveImage", image=small)


def test_the_way_out(daemon: Daemon, disk: SmallDisk) -> None:
    """On a full disk containers are started, end with their codes, are stopped, and pods go, which frees space."""
    pod = run_pod(daemon)
    runs, ends = start(daemon, pod), start(daemon, pod, container_config("ends", command=["sleep", "1000"]))
    waits = create(daemon, pod, container_config("waits", command=["sh", "-c", "exit 4"]))
    execute(daemon, runs, "true")
    disk.fill()
    daemon.call("StartContainer", container_id=waits)
    assert wait_exited(daemon, waits).exit_code == 4
    daemon.call("StopContainer", container_id=ends, timeout=0)
    assert status(daemon, ends).exit_code == 137
    daemon.kill()
    daemon.start()
    assert status(daemon, runs).state == cri.CONTAINER_RUNNING
    assert (status(daemon, waits).exit_code, status(daemon, ends).exit_code) == (4, 137)
    daemon.call("StopContainer", container_id=runs, timeout=10)
    assert status(daemon, runs).exit_code == 3
    remove_pod(daemon, pod)


def test_an_end_that_cannot_be_written(daemon: Daemon, tmp_path: Path) -> None:
    """The disk turns read-only: a container's end is not forgotten but recorded, with its code, once that is over."""
    pod = run_pod(daemon)
    config = container_config(command=["sh", "-c", "while ! test -e /go/on; do sleep 0.02; done; exit 5"])
    config.mounts.add(host_path=str(tmp_path), container_path="/go", readonly=True)
    one = start(daemon, pod, config)
    records = daemon.state / "containers"
    mounts.bind(records, records)
    mounts.mount("", "", records, flags=mounts.MS_REMOUNT | mounts.MS_BIND | mounts.MS_RDONLY)
    try:
        (tmp_path / "on").touch()
        eventually(lambda: "cannot be recorded" in daemon.log.read_text(), "it is tried")
        assert status(daemon, one).state == cri.CONTAINER_RUNNING
    finally:
        mounts.unmount(records)
    found = wait_exited(daemon, one)
    assert (found.exit_code, found.reason) == (5, "Error")
    remove_pod(daemon, pod)


def test_stop_returns_devices(daemon: Daemon, disk: SmallDisk) -> None:
    """A pod with a network device can be stopped on a full disk."""
    ip("link", "add", "fullt0", "type", "veth", "peer", "name", "fullt1")
    try:
        pod = run_pod(daemon, pod_config(annotations=annotated(fullt0="net1")))
        start(daemon, pod)
        disk.fill()
        remove_pod(daemon, pod)
        assert "fullt0" in ip("link", "show", "fullt0")
    finally:
        remove_link("fullt0")
