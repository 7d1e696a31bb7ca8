"""Volumes over /proc, with both runtimes: refused by the daemon, since crun would mount them."""

import shutil
from pathlib import Path

import grpc
import pytest

from tests.node.refusals import refused
from tests.support.daemon import Daemon, assert_clean, scratch_daemon
from tests.support.pods import container_config, create, execute, remove_pod, run_pod, start

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


def test_a_link_that_is_changed_after_the_look(busybox_archive: Path, tmp_path: Path) -> None:
    """A volume's link leads into /proc once crun mounts through it: what was mounted is seen, and nothing is left."""
    (tmp_path / "data").mkdir()
    (tmp_path / "inside").mkdir()
    (tmp_path / "data/link").symlink_to("real")
    (tmp_path / "data/real").mkdir()
    real, swapping = shutil.which("crun"), tmp_path / "swapping-crun"
    swap = f"ln -sfn /proc/sys {tmp_path}/data/link"
    swapping.write_text(f'#!/bin/sh\ncase " $* " in *" create "*) {swap};; esac\nexec {real} "$@"\n')
    swapping.chmod(0o755)
    handlers = {"crun": {"path": real}, "swapping": {"path": str(swapping)}}
    with scratch_daemon(runtimes={"handlers": handlers}) as daemon:
        assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
        config = container_config()
        config.mounts.add(container_path="/v", host_path=str(tmp_path / "data"))
        config.mounts.add(container_path="/v/link/fs", host_path=str(tmp_path / "inside"))
        assert create(daemon, run_pod(daemon), config)  # with the link as it is
        before = daemon.left()
        pod = run_pod(daemon, handler="swapping")
        code, text = refused(create, daemon, pod, config)
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert "a mount came to lie at /proc/sys/fs" in text
        remove_pod(daemon, pod)
        assert_clean(daemon, before)
