"""kill -9 of the daemon in removals, mostly after their answer: the next start finishes them by itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from crishim.pb import cri_pb2 as cri
from tests.node.breakable import BreakableDaemon, crash, node_with_bystander
from tests.support.daemon import assert_clean
from tests.support.pods import container_config, create, pod_config, remove_pod, run_pod, start, wait_exited

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def node(busybox_archive: Path) -> Iterator[BreakableDaemon]:
    with node_with_bystander(busybox_archive) as daemon:
        yield daemon


REMOVE = [
    "Store._write after 1",
    "Launcher.end before 1",
    "Filesystems.delete before 1",
    "RootFilesystems.remove after 1",
    "Filesystems.delete after 1",
    "Launcher.delete_bundle after 1",
    "Store.remove before 1",
    "Store.remove after 1",
]


@pytest.mark.parametrize("handler", ["crun", "runc"])
@pytest.mark.parametrize("point", REMOVE)
def test_remove_container(daemon: BreakableDaemon, point: str, handler: str) -> None:
    """Killed once the intent is on disk: it is in no list, its name is free, and nothing of it is left."""
    pod_wish, wish = pod_config(), container_config()
    pod = run_pod(daemon, pod_wish, handler)
    before = daemon.left()
    before["cgroups"].add(pod)  # it stays until the pod is removed
    container = start(daemon, pod, wish)
    daemon.call("StopContainer", container_id=container, timeout=0)
    crash(daemon, point, "RemoveContainer", container_id=container)
    assert container not in {c.id for c in daemon.call("ListContainers").containers}
    assert_clean(daemon, before)
    assert create(daemon, pod, wish) != container
    remove_pod(daemon, pod)


def test_a_removal_that_had_not_begun(daemon: BreakableDaemon) -> None:
    """Killed before its intent was on disk: the container is there as before, and a repetition removes it."""
    pod = run_pod(daemon)
    container = start(daemon, pod, container_config(command=["true"]))
    wait_exited(daemon, container)
    crash(daemon, "Store._write before 1", "RemoveContainer", container_id=container)
    assert [c.id for c in daemon.call("ListContainers", filter=cri.ContainerFilter(pod_sandbox_id=pod)).containers] == [
        container
    ]
    daemon.call("RemoveContainer", container_id=container)
    remove_pod(daemon, pod)


REMOVE_POD = [
    "Filesystems.delete before 1",
    "RootFilesystems.remove after 1",
    "Store.remove after 1",
    "stop_pod.forget_pod before 1",
    "Sandboxes.remove after 1",
    "stop_pod.forget_pod after 1",
    "Store.remove after 2",
]


@pytest.mark.parametrize("point", REMOVE_POD)
def test_remove_pod(daemon: BreakableDaemon, point: str) -> None:
    """Killed after the answer, the intents of pod and container on disk: the next start removes both."""
    before = daemon.left()
    pod = run_pod(daemon)
    container = start(daemon, pod)
    daemon.call("StopPodSandbox", pod_sandbox_id=pod)
    crash(daemon, point, "RemovePodSandbox", pod_sandbox_id=pod)
    assert pod not in {p.id for p in daemon.call("ListPodSandbox").items}
    assert container not in {c.id for c in daemon.call("ListContainers").containers}
    assert_clean(daemon, before)


@pytest.mark.parametrize("point", ["Store.update before 1", "Store._write after 1"])
def test_a_removal_of_a_pod_that_was_not_answered(daemon: BreakableDaemon, point: str) -> None:
    """Killed before the pod's own intent: the pod is there, stopped, and a repetition removes it."""
    before = daemon.left()
    pod = run_pod(daemon)
    start(daemon, pod)
    daemon.call("StopPodSandbox", pod_sandbox_id=pod)
    crash(daemon, point, "RemovePodSandbox", pod_sandbox_id=pod)
    assert daemon.call("PodSandboxStatus", pod_sandbox_id=pod).status.state == cri.SANDBOX_NOTREADY
    daemon.call("RemovePodSandbox", pod_sandbox_id=pod)
    assert_clean(daemon, before)
