"""Volumes over /proc, with both runtimes: refused by the daemon, since crun would mount them."""

from pathlib import Path

import grpc
import pytest

from tests.node.daemon import Daemon
from tests.node.pods import container_config, create, execute, remove_pod, run_pod, start
from tests.node.refusals import refused

pytestmark = pytest.mark.node


@pytest.mark.parametrize("handler", ["crun", "runc"])
def test_volumes_over_proc(daemon: Daemon, handler: str, tmp_path: Path) -> None:
    """Over /proc and inside it, also through a symlink of another volume; over cpuinfo it works."""
    (tmp_path / "link").symlink_to("/proc/self")
    (tmp_path / "cpuinfo").write_text("mine\n")
    pod = run_pod(daemon, handler=handler)
    for destination in ("/proc", "/proc/self/fd", "/etc/../proc/self/attr", "/v/link/fd"):
        config = container_config()
        config.mounts.add(container_path="/v", host_path=str(tmp_path))
        config.mounts.add(container_path=destination, host_path=str(tmp_path))
        code, text = refused(create, daemon, pod, config)
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert "/proc" in text
    config = container_config(working_dir="/dev/fd/7")
    assert refused(create, daemon, pod, config)[0] == grpc.StatusCode.INVALID_ARGUMENT
    config = container_config()
    config.mounts.add(container_path="/proc/cpuinfo", host_path=str(tmp_path / "cpuinfo"))
    assert execute(daemon, start(daemon, pod, config), "cat", "/proc/cpuinfo") == (0, "mine\n")
    remove_pod(daemon, pod)
