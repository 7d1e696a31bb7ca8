"""Tests of a machine as production has it. They run by `hack/vm test` only: as root of a guest that is thrown away."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

collect_ignore_glob: list[str] = [] if os.environ.get("CRISHIM_TEST_MACHINE") else ["test_*.py"]

if os.environ.get("CRISHIM_TEST_MACHINE"):
    from tests.machine.virtual_functions import functions as functions
    from tests.support.busybox import build_archive, daemon_with
    from tests.support.daemon import Daemon

    @pytest.fixture(scope="session")
    def busybox_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
        """An OCI archive of a small busybox image."""
        return build_archive(tmp_path_factory.mktemp("image"))

    @pytest.fixture(scope="module", params=["cgroupfs", "systemd"])
    def daemon(request: pytest.FixtureRequest, busybox_archive: Path) -> Iterator[Daemon]:
        """A scratch daemon with the image, once with each cgroup driver."""
        settings: dict[str, dict[str, str]] = {"runtimes": {"cgroup_driver": request.param}}
        if request.param == "systemd":
            settings["pods"] = {"cgroup_parent": "/crishimtest.slice"}
        with daemon_with(busybox_archive, **settings) as daemon:
            yield daemon
