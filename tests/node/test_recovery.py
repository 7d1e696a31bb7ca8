"""What a start finds: containers that went on or ended meanwhile, a rebooted machine, broken records, late answers."""

import base64
import concurrent.futures
import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from crishim.wire.linux import cgroups, mounts
from tests.node.daemon import Daemon, eventually, scratch_daemon
from tests.node.isolation import ip
from tests.node.pods import (
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


def info(daemon: Daemon, container: str) -> dict[str, int]:
    found: dict[str, int] = json.loads(
        daemon.call("ContainerStatus", container_id=container, verbose=True).info["info"]
    )
    return found


def is_gone(pid: int) -> bool:
    """Whether a process is gone, or at least dead: nobody here reaps a conmon's orphans at once."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith(("Z", "X"))
    except (FileNotFoundError, ProcessLookupError):
        return True


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: is_gone(pid), f"process {pid} is gone")


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
    for name in ids:
        eventually(lambda name=name: (tmp_path / f"{name}.log").stat().st_size, "it logs")
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


def test_records_survive_byte_for_byte(daemon: Daemon) -> None:
    """Labels, annotations, odd unicode, environment that is no UTF-8 and fields nobody knows come back as they were."""
    odd = {"e": "\u00e9", "nul\x01": '\U0001f980 \u202e \\ " \n\t', "": "empty key", "big": "x" * 200_000}
    unknown = bytes([0xFA, 0x7F, 3]) + b"abc"  # field 2047, length-delimited
    wish = cri.PodSandboxConfig.FromString(
        pod_config(labels=odd, annotations=odd, hostname="odd").SerializeToString() + unknown
    )
    pod = run_pod(daemon, wish)
    config = cri.ContainerConfig.FromString(container_config(labels=odd, annotations=odd).SerializeToString() + unknown)
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
    assert dict(status(daemon, container).annotations) == odd
    kept = json.loads((daemon.state / "containers" / f"{container}.json").read_text())
    assert base64.b64decode(kept["config"]) == config.SerializeToString(deterministic=True)
    assert unknown in base64.b64decode(kept["config"])
    daemon.call("StartContainer", container_id=container)
    assert execute(daemon, container, "sh", "-c", 'test "$RAW" = "$(printf "\\377\\376")"')[0] == 0
    remove_pod(daemon, pod)


def slow(daemon: Daemon, name: str, seconds: str, real: str) -> None:
    """A plugin of the node that waits before it becomes the real one."""
    path = daemon.plugins / name
    path.write_text(f'#!/bin/sh\ntest "$CNI_COMMAND" != ADD || sleep {seconds}\nexec {real} "$@"\n')
    path.chmod(0o755)


def real_plugin(name: str) -> str:
    for directory in ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"):
        if Path(directory, name).exists():
            return str(Path(directory, name))
    raise AssertionError(f"no CNI plugin {name}")


@pytest.fixture
def slow_portmap(daemon: Daemon):  # type: ignore[no-untyped-def]
    slow(daemon, "portmap", "0.7", real_plugin("portmap"))
    yield
    (daemon.plugins / "portmap").unlink()


def test_a_retry_after_a_deadline_gets_the_same_pod(daemon: Daemon, slow_portmap: None) -> None:
    """RunPodSandbox goes on when its client gives up; a retry, during or after it, returns that pod."""
    wish = pod_config()
    with pytest.raises(grpc.RpcError) as caught:
        daemon.call("RunPodSandbox", config=wish, deadline=0.1)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    during = run_pod(daemon, wish)
    assert run_pod(daemon, wish) == during
    assert [p.id for p in daemon.call("ListPodSandbox").items] == [during]
    wish.labels["other"] = "config"
    with pytest.raises(grpc.RpcError) as caught:
        run_pod(daemon, wish)
    assert caught.value.code() == grpc.StatusCode.ALREADY_EXISTS
    remove_pod(daemon, during)


def test_a_retry_after_a_deadline_gets_the_same_container(daemon: Daemon) -> None:
    """CreateContainer goes on when its client gives up; a retry, during or after it, returns that container."""
    pod = run_pod(daemon)
    with pytest.raises(grpc.RpcError) as caught:
        daemon.call(
            "CreateContainer",
            pod_sandbox_id=pod,
            config=container_config(),
            sandbox_config=pod_config(),
            deadline=0.005,
        )
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    during = create(daemon, pod)
    assert create(daemon, pod) == during
    assert [c.id for c in daemon.call("ListContainers").containers] == [during]
    daemon.call("StartContainer", container_id=during)
    with pytest.raises(grpc.RpcError) as caught:
        create(daemon, pod)
    assert caught.value.code() == grpc.StatusCode.ALREADY_EXISTS
    remove_pod(daemon, pod)


@pytest.mark.parametrize("plugin", ["bridge", "host-local", "portmap"])
def test_a_plugin_that_outlives_the_daemon(daemon: Daemon, plugin: str) -> None:
    """kill -9 while a slow plugin works, and a quick start: what it still makes is taken away with the pod."""
    slow(daemon, plugin, "1.2", real_plugin(plugin))
    waiting = ["pgrep", "-f", f"{daemon.plugins / plugin}"]
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            call = pool.submit(run_pod, daemon)
            eventually(lambda: subprocess.run(waiting, stdout=subprocess.DEVNULL).returncode == 0, "it works")
            daemon.kill()
            assert isinstance(call.exception(), grpc.RpcError)
        daemon.start()
        assert not daemon.call("ListPodSandbox").items
        assert subprocess.run(waiting, stdout=subprocess.DEVNULL).returncode == 1
    finally:
        (daemon.plugins / plugin).unlink()


def test_sigterm_drains(daemon: Daemon, slow_portmap: None) -> None:
    """SIGTERM lets a call under way finish, then the daemon ends with 0; containers stay; so with an event stream."""
    bystander = start(daemon, run_pod(daemon))
    pid = info(daemon, bystander)["pid"]
    stream = daemon.call("GetContainerEvents", deadline=30)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        call = pool.submit(run_pod, daemon)
        eventually(lambda: len(list((daemon.state / "pods").glob("*.json"))) == 2, "the call is under way")
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert daemon.process.wait(10) == 0
        assert time.monotonic() - began < 5
        pod = call.result()
    assert not daemon.socket.exists()
    with contextlib.suppress(grpc.RpcError):
        list(stream)
    daemon.end(0)
    daemon.start()
    assert info(daemon, bystander)["pid"] == pid
    assert {p.id for p in daemon.call("ListPodSandbox").items} >= {pod}
    for found in daemon.call("ListPodSandbox").items:
        remove_pod(daemon, found.id)


def test_a_second_daemon_is_refused(daemon: Daemon) -> None:
    """One daemon for one state directory: the second says so in one line, ends with 2, and leaves the socket alone."""
    done = daemon.command("serve")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [f"crishim: another crishim daemon works in {daemon.state}"]
    assert daemon.call("Version").runtime_name == "crishim"
    other = daemon.directory / "other.toml"
    other.write_text(daemon.config.read_text().replace(str(daemon.state), str(daemon.directory / "other")))
    command = [sys.executable, "-m", "crishim", "serve", "--config", str(other)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, f"crishim: another crishim daemon works in {daemon.run}\n")
    shutil.rmtree(daemon.directory / "other")
    other.unlink()


def test_a_broken_record_is_set_aside(daemon: Daemon) -> None:
    """A record that cannot be read is kept beside, said in the log, and the rest of the node works."""
    pod = run_pod(daemon)
    good, bad = start(daemon, pod), start(daemon, pod, container_config("bad"))
    pid = info(daemon, bad)["pid"]
    daemon.kill()
    record = daemon.state / "containers" / f"{bad}.json"
    record.write_bytes(record.read_bytes()[:100])
    (daemon.state / "pods" / "torn.tmp").write_text("{")
    daemon.start()
    assert [c.id for c in daemon.call("ListContainers").containers] == [good]
    assert record.with_suffix(".json.broken").exists()
    assert any(bad in str(line.get("path")) and line["level"] == "error" for line in daemon.logged())
    assert not (daemon.state / "pods" / "torn.tmp").exists()
    eventually(lambda: is_gone(pid), "the container nobody knows is gone")
    assert status(daemon, good).state == cri.CONTAINER_RUNNING
    record.with_suffix(".json.broken").unlink()
    remove_pod(daemon, pod)


def test_the_socket_belongs_to_root_and_its_group(daemon: Daemon) -> None:
    """Mode 0660: whoever can write to it is root."""
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o660
    assert daemon.socket.stat().st_uid == 0


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
