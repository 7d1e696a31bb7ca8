"""What a start makes of records: whole ones, broken ones, of a handler that is no more; one daemon at a time."""

import base64
import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.support.daemon import Daemon, scratch_daemon
from tests.support.pods import (
    container_config,
    create,
    execute,
    pod_config,
    remove_pod,
    run_pod,
    start,
    status,
)

pytestmark = pytest.mark.node


@pytest.mark.fact("labels and annotations survive")
def test_records_survive_byte_for_byte(daemon: Daemon) -> None:
    """Labels, annotations, odd unicode, environment that is no UTF-8 and fields nobody knows come back as they were."""
    odd = {"e": "\u00e9", "nul\x01": '\U0001f980 \u202e \\ " \n\t', "": "empty key", "big": "x" * 20_000}
    odder = odd | {"bigger": "x" * 200_000}
    unknown = bytes([0xFA, 0x7F, 3]) + b"abc"  # field 2047, length-delimited
    wish = cri.PodSandboxConfig.FromString(
        pod_config(labels=odd, annotations=odder, hostname="odd").SerializeToString() + unknown
    )
    pod = run_pod(daemon, wish)
    config = cri.ContainerConfig.FromString(
        container_config(labels=odd, annotations=odder).SerializeToString() + unknown
    )
    config.envs.add(key="RAW", value=b"\xff\xfe")
    container = create(daemon, pod, config, wish)

    def answers() -> list[bytes]:
        found = [
            daemon.call("ContainerStatus", container_id=container).status,
            daemon.call("PodSandboxStatus", pod_sandbox_id=pod).status,
            *daemon.call("ListContainers").containers,
            *daemon.call("ListPodSandbox").items,
        ]
        return [m.SerializeToString(deterministic=True) for m in found]

    def files() -> dict[str, bytes]:
        return {p.name: p.read_bytes() for kind in ("pods", "containers") for p in (daemon.state / kind).iterdir()}

    before, stored = answers(), files()
    daemon.kill()
    daemon.start()
    assert answers() == before
    assert files() == stored
    assert dict(status(daemon, container).annotations) == odder
    kept = json.loads((daemon.state / "containers" / f"{container}.json").read_text())
    assert base64.b64decode(kept["config"]) == config.SerializeToString(deterministic=True)
    assert unknown in base64.b64decode(kept["config"])
    daemon.call("StartContainer", container_id=container)
    assert execute(daemon, container, "sh", "-c", 'test "$RAW" = "$(printf "\\377\\376")"')[0] == 0
    remove_pod(daemon, pod)


def test_a_handler_that_left_the_settings(busybox_archive: Path) -> None:
    """Its pods go on and can be stopped; it takes no new ones, and is forgotten with its last container."""
    with scratch_daemon() as daemon:
        assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
        before = daemon.left()
        pod = run_pod(daemon, handler="runc")
        container = start(daemon, pod)
        daemon.stop()
        daemon.write_config({"runtimes": {"handlers": {"crun": {"path": "crun"}, "runc": {"path": ""}}}})
        daemon.start()
        assert status(daemon, container).state == cri.CONTAINER_RUNNING
        assert execute(daemon, container, "echo", "here") == (0, "here\n")
        assert "runc" not in [h.name for h in daemon.call("Status").runtime_handlers]
        with pytest.raises(grpc.RpcError, match="'runc' is not configured; there are: crun"):
            run_pod(daemon, pod_config("new"), handler="runc")
        assert start(daemon, pod, container_config("second"))
        remove_pod(daemon, pod)
        daemon.stop()
        daemon.start()
        assert [p.name for p in (daemon.run / "handlers").iterdir()] == ["crun"]
        before["files"] -= {"run/handlers/runc"}
        assert daemon.left() == before


def test_a_second_daemon_is_refused(daemon: Daemon) -> None:
    """One daemon for one state directory: the second says so in one line, ends with 2, and leaves the socket alone."""
    done = daemon.command("serve")
    assert done.returncode == 2
    assert daemon.process is not None
    holder = f"(pid {daemon.process.pid})"
    assert done.stderr.splitlines() == [f"crishim: another crishim daemon works in {daemon.state} {holder}"]
    assert daemon.call("Version").runtime_name == "crishim"
    other = daemon.directory / "other.toml"
    other.write_text(daemon.config.read_text().replace(str(daemon.state), str(daemon.directory / "other")))
    command = [sys.executable, "-m", "crishim", "serve", "--config", str(other)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, f"crishim: another crishim daemon works in {daemon.run} {holder}\n")
    shutil.rmtree(daemon.directory / "other")
    other.unlink()


def test_the_socket_belongs_to_root_and_its_group(daemon: Daemon) -> None:
    """Mode 0660: whoever can write to it is root."""
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o660
    assert daemon.socket.stat().st_uid == 0
