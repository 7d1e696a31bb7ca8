"""The log at info tells one pod's story, line by line, with ids and names; a stop with no pods leaves no cgroup."""

from pathlib import Path

import pytest

import crishim
from crishim.linux import cgroups
from tests.support.daemon import scratch_daemon
from tests.support.pods import container_config, create, remove_pod, run_pod, wait_exited

pytestmark = pytest.mark.node
FACTS = ("pod_name", "container_name", "code", "reason")


def test_one_pods_story(busybox_archive: Path) -> None:
    """Start, pod, container, its end with code and reason, their removal; the next start says what it recovered."""
    with scratch_daemon(log={"level": "info", "format": "json"}) as daemon:
        assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
        pod = run_pod(daemon)
        container = create(daemon, pod, container_config("main", command=["sh", "-c", "exit 3"]))
        daemon.call("StartContainer", container_id=container)
        wait_exited(daemon, container)
        daemon.stop()
        daemon.start()
        remove_pod(daemon, pod)
        daemon.stop()
        lines = daemon.logged()
        assert cgroups.directories(daemon.cgroup) == []
    told = [line for line in lines if line["logger"] == "crishim.lifecycle"]
    assert [line["message"] for line in told] == [
        *("pod is ready", "container is created", "container has started", "container has ended"),
        *("pod has stopped", "container is removed", "pod is removed"),
    ]
    assert {line["pod"] for line in told} == {pod}
    assert {line["container"] for line in told if "container" in line} == {container}
    assert (told[3]["code"], told[3]["reason"], told[3]["container_name"]) == (3, "Error", "main")
    assert all("/" in line["pod_name"] for line in told)
    assert told[0]["addresses"]
    assert [line["version"] for line in lines if line["message"] == "starting"] == [crishim.__version__] * 2
    recovered = [(line["pods"], line["containers"]) for line in lines if line["message"] == "recovered"]
    assert recovered == [({}, {}), ({"ready": 1}, {"exited": 1})]
