"""What a start finds: containers that went on or ended meanwhile, a rebooted machine, broken records, late answers."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import grpc
import pytest

from crishim.linux import cgroups, mounts
from crishim.pb import cri_pb2 as cri
from tests.node.process_facts import info, is_gone, kill
from tests.support.daemon import Daemon, eventually, scratch_daemon
from tests.support.isolation import ip
from tests.support.pods import (
    container_config,
    create,
    execute,
    pod_config,
    remove_pod,
    run_pod,
    start,
    status,
    wait_exited,
)

pytestmark = pytest.mark.node


@pytest.mark.parametrize("handler", ["crun", "runc"])
def test_exits_while_no_daemon_runs_are_recorded(daemon: Daemon, tmp_path: Path, handler: str) -> None:
    """Exit codes and times of containers that ended meanwhile are theirs; the one that runs goes on, and logs."""
    wish = pod_config(log_directory=str(tmp_path))
    pod = run_pod(daemon, wish, handler)
    script = "trap 'exit 9' USR1; while :; do echo tick; sleep 0.02; done"
    ids = {}
    for name in ("ends", "killed", "stays"):
        config = container_config(name, command=["sh", "-c", script], log_path=f"{name}.log")
        ids[name] = create(daemon, pod, config, wish)
        daemon.call("StartContainer", container_id=ids[name])
    eventually(lambda: all((tmp_path / f"{name}.log").stat().st_size for name in ids), "they log")
    pids = {name: info(daemon, id)["pid"] for name, id in ids.items()}
    daemon.kill()
    before = time.time_ns()
    os.kill(pids["ends"], signal.SIGUSR1)
    kill(pids["killed"])
    eventually(lambda: is_gone(pids["ends"]), "the trap ran")
    after = time.time_ns()
    size = (tmp_path / "stays.log").stat().st_size
    daemon.start()
    ended = status(daemon, ids["ends"])
    assert (ended.state, ended.exit_code, ended.reason) == (cri.CONTAINER_EXITED, 9, "Error")
    assert before - 10**7 <= ended.finished_at <= after + 10**9  # files have the time of the last tick
    killed = status(daemon, ids["killed"])
    assert (killed.state, killed.exit_code) == (cri.CONTAINER_EXITED, 137)
    assert status(daemon, ids["stays"]).state == cri.CONTAINER_RUNNING
    assert info(daemon, ids["stays"])["pid"] == pids["stays"]
    eventually(lambda: (tmp_path / "stays.log").stat().st_size > size, "it logs on")
    assert execute(daemon, ids["stays"], "echo", "here") == (0, "here\n")
    remove_pod(daemon, pod)


def test_an_oom_kill_while_no_daemon_runs(daemon: Daemon, tmp_path: Path) -> None:
    """The reason OOMKilled survives the daemon's absence."""
    pod = run_pod(daemon)
    script = "while ! test -e /go/on; do sleep 0.02; done; x=x; while :; do x=$x$x$x$x; done"
    config = container_config(command=["sh", "-c", script])
    config.mounts.add(host_path=str(tmp_path), container_path="/go", readonly=True)
    config.linux.resources.memory_limit_in_bytes = 32 << 20
    container = start(daemon, pod, config)
    pid = info(daemon, container)["pid"]
    daemon.kill()
    (tmp_path / "on").touch()
    eventually(lambda: is_gone(pid), "it is out of memory")
    daemon.start()
    found = wait_exited(daemon, container)
    assert (found.exit_code, found.reason) == (137, "OOMKilled")
    remove_pod(daemon, pod)


@pytest.mark.parametrize("running", [True, False])
def test_conmon_is_killed(daemon: Daemon, running: bool) -> None:
    """Without its monitor a container is killed and EXITED, reason and message say why; with and without a daemon."""
    pod = run_pod(daemon)
    container = start(daemon, pod)
    found = info(daemon, container)
    if running:
        kill(found["monitorPid"])
    else:
        daemon.kill()
        kill(found["monitorPid"])
        daemon.start()
    ended = wait_exited(daemon, container)
    assert (ended.exit_code, ended.reason) == (255, "Unknown")
    assert "conmon" in ended.message
    eventually(lambda: is_gone(found["pid"]), "its process is gone")
    remove_pod(daemon, pod)


@pytest.mark.parametrize("handler", ["crun", "runc"])
def test_the_init_is_killed_from_outside(daemon: Daemon, handler: str) -> None:
    """A container whose process somebody kills is EXITED with 137; created ones too."""
    pod = run_pod(daemon, handler=handler)
    runs, waits = start(daemon, pod), create(daemon, pod, container_config("waits"))
    for container in (runs, waits):
        kill(info(daemon, container)["pid"])
        assert wait_exited(daemon, container).exit_code in (137, 1)
    assert status(daemon, runs).exit_code == 137
    remove_pod(daemon, pod)


def test_a_created_container_can_be_started_after_a_restart(daemon: Daemon) -> None:
    """CREATED survives, and Start works then."""
    pod = run_pod(daemon)
    container = create(daemon, pod, container_config(command=["sh", "-c", "exit 6"]))
    daemon.kill()
    daemon.start()
    assert status(daemon, container).state == cri.CONTAINER_CREATED
    daemon.call("StartContainer", container_id=container)
    assert wait_exited(daemon, container).exit_code == 6
    remove_pod(daemon, pod)


def reboot(daemon: Daemon) -> None:
    """What a reboot does to a node: no process, no namespace, no cgroup, no packet filter, no run directory."""
    daemon.kill()
    for line in daemon.left()["processes"]:
        os.kill(int(line.split()[0]), signal.SIGKILL)
    cgroups.kill(daemon.cgroup)
    cgroups.remove(daemon.cgroup)
    for target in mounts.below(daemon.run):
        mounts.unmount(Path(target))
    shutil.rmtree(daemon.run)
    for program in ("iptables", "ip6tables"):
        subprocess.run([program, "-t", "nat", "-F"], check=True)


def test_a_reboot(daemon: Daemon) -> None:
    """The run directory lost: pods NOTREADY, containers EXITED with a reason, addresses free, removal works."""
    wish = pod_config(port_mappings=[cri.PortMapping(host_port=8098, container_port=80)])
    pod = run_pod(daemon, wish)
    shared = pod_config()
    shared.linux.security_context.namespace_options.pid = cri.POD
    other = run_pod(daemon, shared)
    running, waiting = start(daemon, pod), create(daemon, pod, container_config("waits"))
    ended = start(daemon, pod, container_config("ended", command=["sh", "-c", "exit 4"]))
    wait_exited(daemon, ended)
    leases = set(Path(daemon.directory / "ipam/test").glob("10.*"))
    assert len(leases) == 2
    reboot(daemon)
    daemon.start()
    states = {p.id: p.state for p in daemon.call("ListPodSandbox").items}
    assert states == {pod: cri.SANDBOX_NOTREADY, other: cri.SANDBOX_NOTREADY}
    for container in (running, waiting):
        found = status(daemon, container)
        assert (found.state, found.exit_code, found.reason) == (cri.CONTAINER_EXITED, 255, "Unknown")
    assert status(daemon, ended).exit_code == 4
    eventually(lambda: not set(Path(daemon.directory / "ipam/test").glob("10.*")), "the addresses are free")
    again = pod_config()
    again.CopyFrom(wish)
    again.metadata.attempt += 1
    successor = run_pod(daemon, again)
    assert wait_exited(daemon, start(daemon, successor, container_config(command=["true"]))).exit_code == 0
    for id in (pod, other, successor):
        remove_pod(daemon, id)


def test_a_runtime_that_hangs_outlives_no_restart(busybox_archive: Path, tmp_path: Path) -> None:
    """kill -9 while the runtime's create hangs: conmon, runtime and half-made container are gone after the start."""
    script = Path("/dev/shm") / f"hanging-{os.getpid()}"
    script.write_text('#!/bin/sh\ncase "$*" in *" create "*) sleep 600;; esac\nexec crun "$@"\n')
    script.chmod(0o755)
    handlers = {"crun": {"path": "crun"}, "slow": {"path": str(script)}}
    try:
        with scratch_daemon(runtimes={"handlers": handlers}) as daemon:
            assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
            pod = run_pod(daemon, handler="slow")
            before = daemon.left()["processes"]
            with pytest.raises(grpc.RpcError):
                daemon.call("CreateContainer", pod_sandbox_id=pod, config=container_config(), deadline=0.5)
            daemon.kill()
            daemon.start()
            assert not daemon.call("ListContainers").containers
            eventually(lambda: daemon.left()["processes"] == before, "nothing of it runs")
            remove_pod(daemon, pod)
            assert not daemon.left()["files"] & {"x"}
    finally:
        script.unlink()


def test_devices_stay_where_they_are(daemon: Daemon) -> None:
    """A pod's network device is still in the pod, and known, after kill -9."""
    ip("link", "add", "stayt0", "type", "veth", "peer", "name", "stayt1")
    try:
        wish = pod_config(annotations={"netdevices.crishim.io/pod": json.dumps({"stayt0": {"name": "net1"}})})
        pod = run_pod(daemon, wish)
        container = start(daemon, pod)
        daemon.kill()
        daemon.start()
        assert execute(daemon, container, "ip", "link", "show", "net1")[0] == 0
        answer = daemon.call("PodSandboxStatus", pod_sandbox_id=pod, verbose=True).info["info"]
        assert [(d["hostName"], d["name"], d["state"]) for d in json.loads(answer)["netDevices"]] == [
            ("stayt0", "net1", "ready")
        ]
        remove_pod(daemon, pod)
        assert "stayt0" in ip("link", "show", "stayt0")
    finally:
        ip("link", "del", "stayt0")
