"""NRI's socket on a running daemon: who may open it, and what peers cost that lie, flood and freeze."""

import os
import signal
import socket
import stat
import struct
import subprocess
from pathlib import Path

import grpc
import pytest

from tests.support.daemon import Daemon, eventually
from tests.support.daemon import test_program as program
from tests.support.go_plugin import GoPlugins
from tests.support.pods import create, remove_pod, run_pod, start

pytestmark = pytest.mark.node
ATTACKS = {
    "a frame that claims 4 GiB": struct.pack(">II", 2, 0xFFFFFFFF),
    "dies in mid-frame": struct.pack(">II", 2, 100) + b"x" * 50,
    "nonsense": b"GET / HTTP/1.1\r\n\r\n" * 1000,
    "frames for nobody": (struct.pack(">II", 7, 1) + b"x") * 100_000,
    "silence": b"",
}


def test_the_socket_is_roots(daemon: Daemon) -> None:
    """Who can connect can do what root can: nobody else can."""
    found = (daemon.directory / "nri.sock").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o660, 0, 0)
    script = f"import socket; socket.socket(socket.AF_UNIX).connect('{daemon.directory}/nri.sock')"
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "python3", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "PermissionError" in done.stderr


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_costs_its_own_connection(daemon: Daemon, plugins: GoPlugins, attack: str) -> None:
    """A hundred such peers beside a plugin: pods are made, it is told, Status answers, descriptors come back."""
    assert daemon.process is not None
    descriptors = Path(f"/proc/{daemon.process.pid}/fd")
    plugins.join()
    before = len(list(descriptors.iterdir()))
    peers = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    try:
        for peer in peers:
            peer.connect(str(daemon.directory / "nri.sock"))
            peer.settimeout(20)
            try:
                peer.sendall(ATTACKS[attack])
            except OSError:
                continue  # closed on the way
            if attack == "dies in mid-frame":
                peer.close()
        pod = run_pod(daemon)
        start(daemon, pod)
        assert daemon.call("Status").status.conditions[0].status
        remove_pod(daemon, pod)
    finally:
        for peer in peers:
            peer.close()
    assert plugins.events(pod) == ["RunPodSandbox", "StopPodSandbox", "RemovePodSandbox"]
    eventually(lambda: len(list(descriptors.iterdir())) <= before + 2, "the connections are closed")


def test_a_frozen_plugin_is_dropped(daemon: Daemon, plugins: GoPlugins) -> None:
    """The pod runs without it; when it wakes up it finds the connection closed."""
    plugins.join()
    process = plugins.processes[0]
    os.kill(process.pid, signal.SIGSTOP)
    try:
        pod = run_pod(daemon)
        (plugin,) = [p for p in plugins.listed() if p["pid"] == process.pid]
        assert "did not answer RunPodSandbox" in plugin["state"]
    finally:
        os.kill(process.pid, signal.SIGCONT)
    assert process.wait(20) == 1
    remove_pod(daemon, pod)


def test_a_frozen_launched_plugin_does_not_keep_the_daemon(daemon: Daemon, plugins: GoPlugins) -> None:
    """SIGTERM ends the daemon, and the plugin with it; so does a kill, and the next daemon launches another."""
    directory = daemon.directory / "nri-plugins"
    directory.mkdir(mode=0o700)
    (directory / "10-frozen").symlink_to(program("nri-plugin"))
    try:
        daemon.stop()
        daemon.start()
        (plugin,) = [p for p in plugins.listed() if p["launched"]]
        os.kill(plugin["pid"], signal.SIGSTOP)
        daemon.stop()
        assert not Path(f"/proc/{plugin['pid']}").exists()
    finally:
        (directory / "10-frozen").unlink()
        directory.rmdir()
        daemon.start()


def test_the_default_validator(daemon: Daemon, plugins: GoPlugins) -> None:
    """Its settings hold for every plugin, and for none: a required one that is not there keeps containers out."""
    validator = {"enable": True, "reject_oci_hook_adjustment": True, "required_plugins": ["go"]}
    daemon.stop()
    daemon.write_config({"nri": {"validator": validator}})
    daemon.start()
    pod = run_pod(daemon)
    try:
        with pytest.raises(grpc.RpcError, match=r"the default NRI validator rejects container c: .*go"):
            create(daemon, pod)
        hooks = {"poststop": [{"path": "/bin/true"}]}
        plugins.join(CreateContainer={"adjust": {"hooks": hooks}, "times": 1})
        with pytest.raises(grpc.RpcError, match=r"the default NRI validator rejects container c: .*10-go.*OCI hook"):
            create(daemon, pod)
        create(daemon, pod)
    finally:
        remove_pod(daemon, pod)
        plugins.end()
        daemon.stop()
        daemon.write_config({})
        daemon.start()


def test_the_socket_of_another_runtime_is_not_taken(daemon: Daemon) -> None:
    """The daemon does not start, and says which setting it is."""
    daemon.stop()
    path = daemon.directory / "nri.sock"
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        done = daemon.command("serve")
        assert done.returncode == 2
        assert f"nri.socket: cannot listen for NRI plugins at {path}: another runtime listens there" in done.stderr
    path.unlink()
    daemon.start()
