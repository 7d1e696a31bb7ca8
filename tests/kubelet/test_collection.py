"""What the kubelet takes away by itself: images nobody uses, ended containers and pods, and their logs."""

import os
from collections.abc import Iterator

import pytest

from tests.kubelet.shapes import pod, shell
from tests.support.daemon import IMAGE, eventually
from tests.support.kubelet.node import SIGNALLED, Node, container_status, restarts, scratch_node
from tests.support.kubelet.process import NAME
from tests.support.oci_layout import Layout, tar_files

pytestmark = pytest.mark.node
PINNED = "localhost/crishim/pinned:latest"
WANTED = 32 << 20
SETTINGS = {
    "evictionHard": {"imagefs.available": str(WANTED)},
    "evictionPressureTransitionPeriod": "1s",
    "imageMinimumGCAge": "1ns",  # 0 is taken for unset: two minutes
}


@pytest.fixture(scope="module")
def the_node() -> Iterator[Node]:
    """A node whose images lie on a file system of 72 MB; its kubelet wants 32 of them free."""
    pinned = {"pinned": [PINNED]}
    with scratch_node(kubelet=SETTINGS, disks={"state": "72m"}, images=pinned) as node:
        import_large(node, PINNED, 4)
        before = node.left()
        node.run("gone", pod())  # for test_an_ended_pod_goes: the kubelet takes its time
        node.remove("gone")
        yield node
        node.settle(before)


@pytest.fixture
def node(the_node: Node) -> Iterator[Node]:
    """The node; a test's pods end after it, but what is left of them is the kubelet's to remove."""
    yield the_node
    the_node.remove(*(path.stem for path in the_node.kubelet.manifests.glob("*.yaml")))


def import_large(node: Node, name: str, size: int) -> None:
    """Give the daemon an image with one file of this size (MB) that compresses badly."""
    layout, archive = Layout(node.directory / "layout"), node.directory / "image.tar"
    layout.name(layout.manifest([tar_files({"noise": os.urandom(size << 20)})], {"Cmd": ["/noise"]}), name)
    layout.archive(archive)
    done = node.daemon.command("images", "import", str(archive))
    assert done.returncode == 0, done.stderr
    archive.unlink()


def images(node: Node) -> set[str]:
    return {name for image in node.daemon.call("ListImages").images for name in image.repo_tags}


def using(image: str) -> dict[str, object]:
    """A pod that runs one image and mounts another."""
    main = shell(volumeMounts=[{"name": "i", "mountPath": "/image"}])
    return pod(main, volumes=[{"name": "i", "image": {"reference": image, "pullPolicy": "Never"}}])


def test_images_go_when_the_disk_fills(node: Node) -> None:
    """Below imagefs.available unused images go; those that a container runs or mounts stay, pinned ones too."""
    node.run("uses", using(SIGNALLED))
    kept = {IMAGE, SIGNALLED, PINNED}
    unused = {f"localhost/crishim/unused-{n}:latest" for n in range(2)}
    for name in unused:
        import_large(node, name, 6)
    assert images(node) == kept | unused
    filler = node.daemon.state / "filler"
    try:
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, available(node) - WANTED + (4 << 20))
        eventually(lambda: images(node) == kept, "the unused images are gone", 60)
        assert available(node) > WANTED
        assert restarts(node.ready("uses")) == 0
    finally:
        filler.unlink()


def available(node: Node) -> int:
    """Free bytes on the file system of the images."""
    found = os.statvfs(node.daemon.state)
    return found.f_bavail * found.f_frsize


def test_images_go_by_age(node: Node) -> None:
    """imageMaximumGCAge: at its next round the kubelet removes what was not used for so long; used and pinned stay."""
    node.run("runs", using(SIGNALLED))
    name = "localhost/crishim/old:latest"
    import_large(node, name, 1)
    identity = container_status(node.pod("runs"), "main")["containerID"]
    node.kubelet.stop()
    node.kubelet.configure(SETTINGS | {"imageMaximumGCAge": "2ns"})  # a round at its start, then every five minutes
    node.kubelet.start()
    eventually(lambda: images(node) == {IMAGE, SIGNALLED, PINNED}, "the old image is gone", 60)
    found = node.ready("runs")
    assert (restarts(found), container_status(found, "main")["containerID"]) == (0, identity)
    node.kubelet.stop()
    node.kubelet.configure(SETTINGS)
    node.kubelet.start()


def test_ended_containers_and_their_logs_go(node: Node) -> None:
    """Of a container that was restarted often the kubelet keeps the attempt before, and its log."""
    node.put("collect", pod(shell("echo again; exit 1")))
    node.wait("collect", lambda p: container_status(p, "main").get("restartCount", 0) >= 4, "restarted often", 90)
    logs = next(node.kubelet.pod_logs.glob("default_collect-*/main"))

    def few() -> bool:
        listed = node.daemon.call("ListContainers").containers
        attempts = {c.metadata.attempt for c in listed if c.labels["io.kubernetes.pod.name"] == f"collect-{NAME}"}
        return len(attempts) <= 2 and {p.stem for p in logs.iterdir()} <= set(map(str, attempts))

    eventually(few, "older attempts are removed", 60)


@pytest.mark.timeout(200)
def test_an_ended_pod_goes(node: Node) -> None:
    """The kubelet removes a deleted pod's containers, its sandbox half a minute later, and its logs."""

    def left() -> list[str]:
        return [p.metadata.name for p in node.daemon.call("ListPodSandbox").items if p.metadata.name == f"gone-{NAME}"]

    eventually(lambda: not left(), "the sandbox is removed", 100)
    eventually(lambda: not list(node.kubelet.pod_logs.glob("default_gone-*")), "its logs are removed", 70)
