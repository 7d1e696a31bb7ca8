"""Tests of a machine as production has it. They run by `hack/vm test` only: as root of a guest that is thrown away."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

collect_ignore_glob: list[str] = [] if os.environ.get("CRISHIM_TEST_MACHINE") else ["test_*.py"]

if os.environ.get("CRISHIM_TEST_MACHINE"):
    from tests.support.daemon import Daemon, scratch_daemon

    @pytest.fixture(scope="session")
    def busybox_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
        """An OCI archive of a small busybox image."""
        path = tmp_path_factory.mktemp("image") / "busybox.tar"
        script = Path(__file__).parents[2] / "hack/build-images"
        subprocess.run([sys.executable, str(script), "--demo", str(path)], check=True, capture_output=True)
        return path

    @pytest.fixture(scope="module", params=["cgroupfs", "systemd"])
    def daemon(request: pytest.FixtureRequest, busybox_archive: Path) -> Iterator[Daemon]:
        """A scratch daemon with the image, once with each cgroup driver."""
        settings: dict[str, dict[str, str]] = {"runtimes": {"cgroup_driver": request.param}}
        if request.param == "systemd":
            settings["pods"] = {"cgroup_parent": "/crishimtest.slice"}
        with scratch_daemon(**settings) as daemon:
            done = daemon.command("images", "import", str(busybox_archive))
            assert done.returncode == 0, done.stderr
            yield daemon
