"""Things that hang: while they do, Status and lists answer and other pods live; afterwards the pod that hung can go."""

import concurrent.futures
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from crishim.engine import conmon
from crishim.linux import cgroups
from crishim.pb import cri_pb2 as cri
from tests.node.hanging import Hanging
from tests.node.refusals import refused
from tests.node.test_bad_programs import script
from tests.support.daemon import Daemon, assert_clean, eventually, scratch_daemon
from tests.support.pods import container_config, create, execute, pod_config, remove_pod, run_pod, start, status

pytestmark = pytest.mark.node
Code = grpc.StatusCode
SOON = 5.0  # seconds: what is answered at once, on a machine that has much else to do
HANGS = 'case "$*" in *features*) sleep 600;; esac; exec crun "$@"\n'


@pytest.fixture(scope="module")
def node(busybox_archive: Path) -> Iterator[Daemon]:
    """A node where everything is given up soon, and one of whose runtimes never tells its features."""
    mute = script(Path(f"/dev/shm/mute-runtime-{os.getpid()}"), HANGS)
    handlers = {"crun": {"path": "crun"}, "mute": {"path": str(mute)}}
    runtimes = {"handlers": handlers, "timeout": 6, "path_timeout": 1}
    with scratch_daemon(runtimes=runtimes, network={"timeout": 2}, drain_timeout=2) as daemon:
        assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
        yield daemon
    mute.unlink()


def assert_others_live(daemon: Daemon) -> None:
    """Status and lists answer at once, and a pod can be made, used and removed."""
    for name in (
        "Status",
        "ListPodSandbox",
        "ListContainers",
        "ListImages",
        "ListContainerStats",
        "ListPodSandboxStats",
    ):
        daemon.call(name, deadline=SOON)
    pod = run_pod(daemon)
    container = start(daemon, pod)
    daemon.call("Status", deadline=SOON)
    assert execute(daemon, container, "echo", "alive") == (0, "alive\n")
    remove_pod(daemon, pod)


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Hanging]:
    """A file that hangs who opens it."""
    if not os.access("/dev/fuse", os.W_OK):
        pytest.skip("there is no /dev/fuse: nothing to wait for")
    (tmp_path / "fuse").mkdir()
    found = Hanging(tmp_path / "fuse")
    yield found
    found.close()


def profiled(path: Path) -> cri.ContainerConfig:
    config = container_config()
    config.linux.security_context.seccomp.profile_type = cri.SecurityProfile.Localhost
    config.linux.security_context.seccomp.localhost_ref = str(path)
    return config


def test_a_fifo_as_seccomp_profile(daemon: Daemon, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "profile")
    pod = run_pod(daemon)
    code, text = refused(create, daemon, pod, profiled(tmp_path / "profile"))
    assert code == Code.INVALID_ARGUMENT
    assert "no regular file" in text
    remove_pod(daemon, pod)


def test_a_path_that_never_answers(daemon: Daemon, hanging: Hanging, tmp_path: Path) -> None:
    """More look-ups hang than any pool has threads: each is given up and named, its pod's further ones are refused."""
    path = tmp_path / "fuse/file"
    pods = [run_pod(daemon) for _ in range(9)]
    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        calls = [pool.submit(refused, create, daemon, pod, profiled(path)) for pod in pods]
        assert hanging.waiting.wait(30)
        daemon.call("Status", deadline=SOON)
        for call in calls:
            code, text = call.result()
            assert code == Code.DEADLINE_EXCEEDED
            assert f"{path} does not answer" in text
    codes = [refused(create, daemon, pods[0], profiled(path))[0] for _ in range(4)]
    assert codes == [Code.DEADLINE_EXCEEDED] * 2 + [Code.UNAVAILABLE] * 2
    assert_others_live(daemon)
    for pod in pods[1:]:
        remove_pod(daemon, pod)
    hanging.close()
    container = eventually(lambda: _try(daemon, pods[0]), "the pod takes containers again")
    assert status(daemon, container).state == cri.CONTAINER_CREATED
    remove_pod(daemon, pods[0])


def _try(daemon: Daemon, pod: str) -> str:
    try:
        return create(daemon, pod)
    except grpc.RpcError:
        return ""


class Frozen:
    """A cgroup whose processes stand still; on v1 not even SIGKILL ends them."""

    def __init__(self, pid: int) -> None:
        self.v1 = "freezer" in cgroups.hierarchies()
        top = cgroups.hierarchies()["freezer" if self.v1 else "unified"] if self.v1 else cgroups.ROOT
        self.path = top / f"crishim-frozen-{os.getpid()}"
        self.path.mkdir(exist_ok=True)
        (self.path / "cgroup.procs").write_text(str(pid))
        self._write("FROZEN", "1")

    def _write(self, v1: str, v2: str) -> None:
        (self.path / ("freezer.state" if self.v1 else "cgroup.freeze")).write_text(v1 if self.v1 else v2)

    def end(self) -> None:
        self._write("THAWED", "0")
        eventually(lambda: not (self.path / "cgroup.procs").read_text(), "what was frozen has ended")
        self.path.rmdir()


def test_a_frozen_cni_plugin(daemon: Daemon) -> None:
    """RunPodSandbox ends with an error, and the pod it could not clean up can be removed once the plugin works."""
    pid_file = daemon.directory / "plugin.pid"
    plugin = script(
        daemon.plugins / "bridge", f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 1000\n"
    )
    config = pod_config()
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            call = pool.submit(refused, run_pod, daemon, config)
            eventually(pid_file.exists, "the plugin runs")
            frozen = Frozen(int(pid_file.read_text()))
            daemon.call("Status", deadline=SOON)
            code, text = call.result(timeout=60)
        assert code == Code.DEADLINE_EXCEEDED
        assert "bridge" in text
    finally:
        plugin.unlink()
    assert_others_live(daemon)
    for pod in daemon.call("ListPodSandbox").items:
        remove_pod(daemon, pod.id)
    frozen.end()
    pid_file.unlink()
    remove_pod(daemon, run_pod(daemon, config))


def test_a_plugin_that_does_not_tell_its_status(daemon: Daemon) -> None:
    """Status does not wait for STATUS: what was said before holds, and what comes in the end counts."""

    def network() -> cri.RuntimeCondition:
        found: cri.RuntimeCondition = daemon.call("Status", deadline=SOON).status.conditions[1]
        return found

    assert network().status
    plugin = script(daemon.plugins / "mute", 'case "$CNI_COMMAND" in STATUS) sleep 600;; esac\n')
    file = "99-mute.conflist"
    daemon.write_network(file, cniVersion="1.1.0", plugins=[{"type": "mute"}])
    try:
        assert network().status
        eventually(lambda: "mute did not finish" in network().message, "the plugin is given up")
    finally:
        (daemon.cni / file).unlink()
        plugin.unlink()
    eventually(lambda: network().status, "the network is ready again")


def test_a_runtime_that_does_not_tell_its_features(daemon: Daemon) -> None:
    handlers = {h.name: h.features for h in daemon.call("Status", deadline=SOON).runtime_handlers}
    assert handlers["mute"] == cri.RuntimeHandlerFeatures()
    assert handlers["crun"] != cri.RuntimeHandlerFeatures()


def test_a_conmon_that_hangs(daemon: Daemon, tmp_path: Path) -> None:
    """Stopped, or waiting at a FIFO in its log's place (on a tmpfs a pod could put one there): all else goes on.

    A stop ends, and the container's end is recorded without its code.
    """
    pods, containers, monitors = [], [], []
    for name in ("stopped", "fifo"):
        config = pod_config(log_directory=str(tmp_path))
        pods.append(run_pod(daemon, config))
        containers.append(create(daemon, pods[-1], container_config(log_path=name), config))
        daemon.call("StartContainer", container_id=containers[-1])
        monitors.append(int((daemon.run / "containers" / containers[-1] / "conmon.pid").read_text()))
    os.kill(monitors[0], signal.SIGSTOP)
    links = daemon.run / "roots" / containers[1] / "log"
    os.mkfifo(links / "fifo.tmp")  # conmon opens its new log there, and renames it
    conmon.reopen_log(daemon.run / "containers" / containers[1])
    place = Path(f"/proc/{monitors[1]}/wchan")  # "0" where the kernel does not tell
    eventually(lambda: place.read_text() in ("0", "wait_for_partner"), "conmon waits for a reader")

    with concurrent.futures.ThreadPoolExecutor() as pool:
        stops = [
            pool.submit(daemon.call, "StopContainer", container_id=container, timeout=0, deadline=60)
            for container in containers
        ]
        assert_others_live(daemon)
        for stop in stops:
            stop.result()
    for pod, container in zip(pods, containers, strict=True):
        found = status(daemon, container)
        assert (found.state, found.exit_code, found.reason) == (cri.CONTAINER_EXITED, 255, "Unknown"), found
        remove_pod(daemon, pod)


@pytest.fixture
def stalled() -> Iterator[str]:
    """HOST:PORT of a registry that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def pull(daemon: Daemon, address: str) -> None:
    with pytest.raises(grpc.RpcError):
        daemon.call("PullImage", image=cri.ImageSpec(image=f"{address}/stalled:latest"), deadline=60)


def test_a_registry_that_stalls_and_a_term(daemon: Daemon, stalled: str) -> None:
    """All else goes on; SIGTERM ends the daemon in its time, with the pull under way, and skopeo ends with it."""
    thread = threading.Thread(target=pull, args=(daemon, stalled))
    thread.start()

    def copies() -> bytes:
        return subprocess.run(["pgrep", "-f", stalled], capture_output=True, check=False).stdout

    eventually(copies, "skopeo runs")
    assert_others_live(daemon)
    began = time.monotonic()
    daemon.stop()
    assert time.monotonic() - began < 2 + SOON
    thread.join(30)
    assert not thread.is_alive()
    eventually(lambda: not copies(), "skopeo has ended")
    daemon.start()


def test_a_term_while_a_path_never_answers(daemon: Daemon, hanging: Hanging, tmp_path: Path) -> None:
    """A thread that not even SIGKILL ends keeps the old process, but neither its socket nor its locks."""
    pod = run_pod(daemon)
    assert refused(create, daemon, pod, profiled(tmp_path / "fuse/file"))[0] == Code.DEADLINE_EXCEEDED
    old = daemon.process
    assert old is not None
    old.send_signal(signal.SIGTERM)
    eventually(lambda: not daemon.socket.exists(), "the socket is free", 2 + SOON)
    daemon.start()
    remove_pod(daemon, pod)
    hanging.close()
    assert old.wait(30) == 0


def test_an_abandoned_exec_leaves_no_process(daemon: Daemon) -> None:
    """A client that gives up an ExecSync without a timeout of its own takes the command with it."""
    pod = run_pod(daemon)
    container = start(daemon, pod)
    before = daemon.left()
    code, _ = refused(daemon.call, "ExecSync", container_id=container, cmd=["sleep", "4242"], deadline=2)
    assert code == Code.DEADLINE_EXCEEDED
    eventually(lambda: "4242" not in execute(daemon, container, "ps", "-o", "args")[1], "the command is gone")
    assert_clean(daemon, before)
    remove_pod(daemon, pod)


def test_a_log_that_nobody_reads(daemon: Daemon) -> None:
    """The daemon's log goes into a pipe that is full: it serves on, and ends when it is told to."""
    daemon.stop()
    reader, writer = os.pipe()
    try:
        daemon.launch_into(writer)
        os.close(writer)
        for number in range(600):  # debug lines, several for each
            daemon.call("Version" if number % 2 else "ListPodSandbox", deadline=SOON)
        assert_others_live(daemon)
        daemon.stop()
        assert daemon.process is not None
        assert daemon.process.returncode == 0
    finally:
        os.close(reader)
    daemon.start()
