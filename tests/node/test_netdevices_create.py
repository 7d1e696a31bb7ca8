"""A create that fails while the OCI runtime still works: it has ended before the devices go back."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.node.movers import moves_devices
from tests.node.refusals import refused
from tests.support import residue
from tests.support.daemon import Daemon, assert_clean, scratch_daemon
from tests.support.daemon import test_program as program
from tests.support.isolation import ip, remove_link
from tests.support.pods import annotated, container_config, create, pod_config, remove_pod, run_pod

pytestmark = pytest.mark.node


# Stops runc when it has read its config.json and started its init, a few milliseconds before it moves the devices.
SLOW = """
import os, pathlib, signal, subprocess, sys, time
runc, note = sys.argv[1:3]
if "create" not in sys.argv:
    os.execv(runc, [runc, *sys.argv[3:]])
process = subprocess.Popen([runc, *sys.argv[3:]])
while not any(t.read_text() for t in pathlib.Path(f"/proc/{process.pid}/task").glob("*/children")):
    pass
process.send_signal(signal.SIGSTOP)
pathlib.Path(note).touch()
time.sleep(2)
process.send_signal(signal.SIGCONT)
sys.exit(process.wait())
"""


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def node(busybox_archive: Path, tmp_path: Path) -> Iterator[Daemon]:
    """A conmon whose first process dies between forking the second and writing its pid; a runc that takes its time."""
    stopped = tmp_path / "stopped"
    wait = f"while ! [ -e {stopped} ]; do sleep 0.01; done"
    conmon = script(tmp_path / "failing-conmon", f'{shutil.which("conmon")} "$@"; rm conmon.pid; {wait}; exit 3')
    (tmp_path / "slow.py").write_text(SLOW)
    slow = script(tmp_path / "slow-runc", f'exec {sys.executable} {tmp_path}/slow.py {program("runc")} {stopped} "$@"')
    runtimes = {"conmon": conmon, "handlers": {"slow": {"path": slow, "netdevices": "runtime"}}, "default": "slow"}
    with scratch_daemon(runtimes=runtimes) as daemon:
        assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
        yield daemon


@pytest.fixture
def device() -> Iterator[str]:
    ip("link", "add", "late0", "type", "veth", "peer", "name", "late1")
    ip("addr", "add", "192.0.2.1/24", "dev", "late0")
    ip("link", "set", "late0", "up")
    yield "late0"
    remove_link("late0")


@pytest.mark.skipif(not moves_devices("runc"), reason="this runc moves no devices")
def test_a_runtime_that_outlives_its_conmon_moves_nothing(node: Daemon, device: str) -> None:
    """It would move the device when all was undone, and the device ends with the pod's namespace."""
    config = pod_config(annotations=annotated(**{device: "net1"}))
    pod = run_pod(node, config, handler="slow")
    before = node.left()
    before["cgroups"].add(pod)
    code, text = refused(create, node, pod, container_config(), config)
    assert (code, "failing-conmon failed with status 3" in text) == (grpc.StatusCode.INTERNAL, True), text
    living = {p for p in residue.processes(str(node.run)) if "create" in p or "conmon" in p}
    assert not living, "they have ended when the call is answered"
    assert_clean(node, before)
    assert "192.0.2.1/24" in ip("addr", "show", "dev", device)
    remove_pod(node, pod)
    assert "192.0.2.1/24" in ip("addr", "show", "dev", device)
