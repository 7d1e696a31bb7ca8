"""A scratch node whose daemon can be made to die at a chosen point: see tests/faults/sitecustomize.py."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.support.daemon import Daemon
from tests.support.pods import pod_config, run_pod, start, status

ROOT = Path(__file__).parents[2]


class BreakableDaemon(Daemon):
    """A Daemon that obeys crash()."""

    def __init__(self, directory: Path, settings: dict[str, Any] | None = None) -> None:
        super().__init__(directory, settings)
        self.fault = directory.with_name(directory.name + ".fault")
        self.bystander, self.bystander_pid = "", 0  # a container that runs through all of it

    def start(self) -> None:
        before = {k: os.environ.get(k) for k in ("PYTHONPATH", "CRISHIM_FAULT")}
        os.environ["PYTHONPATH"] = f"{ROOT / 'tests/faults'}{os.pathsep}{ROOT}"
        os.environ["CRISHIM_FAULT"] = str(self.fault)
        try:
            super().start()
        finally:
            for key, value in before.items():
                os.environ.pop(key, None)
                if value is not None:
                    os.environ[key] = value

    def die(self, point: str, name: str, **fields: Any) -> None:
        """Make a call in whose course the daemon dies at the point: "FUNCTION before|after N"."""
        assert self.process is not None
        self.fault.write_text(point)
        try:
            try:
                self.call(name, **fields)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.UNAVAILABLE, f"{point} was not reached: {error}"  # noqa: PT017
            try:
                status = self.process.wait(3)  # some points come after the answer
            except subprocess.TimeoutExpired:
                pytest.fail(f"{point} was not reached")
            assert status == -signal.SIGKILL
        finally:
            self.fault.unlink()
        self.end(0)

    def delete(self) -> None:
        super().delete()
        self.fault.unlink(missing_ok=True)


@contextlib.contextmanager
def breakable_daemon(**settings: Any) -> Iterator[BreakableDaemon]:
    """As scratch_daemon."""
    directory = Path(tempfile.mkdtemp(prefix="crishim-test-", dir="/dev/shm"))
    directory.chmod(0o711)
    daemon = BreakableDaemon(directory, settings)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.delete()


def pid_of(daemon: BreakableDaemon, container: str) -> int:
    info = daemon.call("ContainerStatus", container_id=container, verbose=True).info["info"]
    return int(json.loads(info)["pid"])


def crash(daemon: BreakableDaemon, point: str, name: str, **fields: Any) -> None:
    """Die at the point, start again: the bystander is there and has not changed."""
    daemon.die(point, name, **fields)
    daemon.start()
    assert status(daemon, daemon.bystander).state == cri.CONTAINER_RUNNING
    assert pid_of(daemon, daemon.bystander) == daemon.bystander_pid


@contextlib.contextmanager
def node_with_bystander(archive: Path, **settings: Any) -> Iterator[BreakableDaemon]:
    """A daemon that can be made to die, with the image of an archive and a pod that outlives all of it."""
    with breakable_daemon(**settings) as daemon:
        done = daemon.command("images", "import", str(archive))
        assert done.returncode == 0, done.stderr
        daemon.bystander = start(daemon, run_pod(daemon, pod_config("bystander")))
        daemon.bystander_pid = pid_of(daemon, daemon.bystander)
        yield daemon
