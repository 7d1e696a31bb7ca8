"""A pod that may write to the node's logs puts links where conmon, which is root, opens another one's log."""

import os
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from crishim.linux import mounts
from crishim.pb import cri_pb2 as cri
from tests.node.process_facts import info
from tests.node.refusals import refused
from tests.support.daemon import Daemon, eventually
from tests.support.pods import container_config, create, pod_config, remove_pod, run_pod

pytestmark = pytest.mark.node
TALKER = ["sh", "-c", "while :; do echo line; sleep 0.05; done"]


class Logged:
    """A pod with a log directory, and a file outside of it that nobody should write to."""

    def __init__(self, daemon: Daemon, base: Path) -> None:
        self.daemon = daemon
        self.directory = base / "logs"
        self.directory.mkdir()
        self.victim = base / "victim"
        self.config = pod_config(log_directory=str(self.directory))
        self.pod = run_pod(daemon, self.config)

    def create(self, log_path: str = "c.log") -> str:
        return create(self.daemon, self.pod, container_config(log_path=log_path, command=TALKER), self.config)

    def start(self) -> str:
        container = self.create()
        self.daemon.call("StartContainer", container_id=container)
        eventually(lambda: (self.directory / "c.log").read_text(), "the log has a line")
        return container

    def rotate(self) -> None:
        (self.directory / "c.log").rename(self.directory / "c.log.1")


@pytest.fixture
def logged(daemon: Daemon, tmp_path: Path) -> Logged:
    return Logged(daemon, tmp_path)


def link_to_a_file(logged: Logged) -> str:
    (logged.directory / "c.log").symlink_to(logged.victim)
    return "c.log"


def link_to_a_directory(logged: Logged) -> str:
    (logged.directory.parent / "elsewhere").mkdir()
    (logged.directory / "sub").symlink_to("../elsewhere")
    return "sub/c.log"


def linked_log_directory(logged: Logged) -> str:
    logged.directory.rename(logged.victim)
    logged.directory.symlink_to(logged.victim)
    return "c.log"


def fifo(logged: Logged) -> str:
    os.mkfifo(logged.directory / "c.log")
    return "c.log"


@pytest.mark.parametrize("trap", [link_to_a_file, link_to_a_directory, linked_log_directory, fifo])
def test_links_at_the_start(logged: Logged, trap: object) -> None:
    """INVALID names the path; nothing is written beyond it."""
    log_path = trap(logged)  # type: ignore[operator]
    code, text = refused(logged.create, log_path)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert str(logged.directory) in text
    assert not logged.victim.is_file()
    assert not list(logged.directory.parent.glob("elsewhere/*")) + list(logged.victim.glob("*"))
    remove_pod(logged.daemon, logged.pod)


def test_links_at_a_reopening(logged: Logged) -> None:
    """Refused while a link is in the way, where conmon writes the new file too; the container goes on."""
    container = logged.start()
    logged.rotate()
    for name in ("c.log", "c.log.tmp"):
        (logged.directory / name).symlink_to(logged.victim)
        code, _ = refused(logged.daemon.call, "ReopenContainerLog", container_id=container)
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        (logged.directory / name).unlink()
    assert not logged.victim.exists()
    logged.daemon.call("ReopenContainerLog", container_id=container)
    eventually(lambda: (logged.directory / "c.log").read_text(), "the new log has a line")
    remove_pod(logged.daemon, logged.pod)


@pytest.mark.parametrize("plant", [lambda path, victim: path.symlink_to(victim), lambda path, _: os.mkfifo(path)])
def test_what_comes_after_the_look(logged: Logged, plant: Callable[[Path, Path], None]) -> None:
    """conmon opens nothing by its name in that directory: with a trap there, it gets the file that we made."""
    container = logged.start()
    pid = int((logged.daemon.run / "containers" / container / "conmon.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        try:
            logged.rotate()
            call = pool.submit(logged.daemon.call, "ReopenContainerLog", container_id=container)
            eventually((logged.directory / "c.log").exists, "the new file is there")
            (logged.directory / "c.log").rename(logged.directory / "ours")
            for name in ("c.log", "c.log.tmp"):
                plant(logged.directory / name, logged.victim)
        finally:
            os.kill(pid, signal.SIGCONT)
        call.result()
    eventually((logged.directory / "ours").read_text, "conmon writes to the file that was made for it")
    assert not logged.victim.exists()
    remove_pod(logged.daemon, logged.pod)


def test_a_monitor_that_hears_late(logged: Logged) -> None:
    """Told twice, as the first call was given up: it writes to the newest file, and to no other place."""
    container = logged.start()
    pid = int((logged.daemon.run / "containers" / container / "conmon.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(1) as pool:
            logged.rotate()
            code, _ = refused(logged.daemon.call, "ReopenContainerLog", container_id=container, deadline=60)
            assert code == grpc.StatusCode.DEADLINE_EXCEEDED
            call = pool.submit(logged.daemon.call, "ReopenContainerLog", container_id=container)
            place = (logged.directory / "c.log").stat().st_ino
            eventually(lambda: (logged.directory / "c.log").stat().st_ino != place, "the second file is there")
            os.kill(pid, signal.SIGCONT)
            call.result()
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually((logged.directory / "c.log").read_text, "the new log has a line")
    links = logged.daemon.run / "roots" / container / "log"
    assert [path.is_symlink() for path in links.iterdir()] == [True]
    remove_pod(logged.daemon, logged.pod)


def test_a_log_of_an_older_version(logged: Logged) -> None:
    """There conmon's directory is a mount of the whole log directory; it is taken away with the first reopening."""
    container = logged.start()
    place = logged.daemon.run / "roots" / container / "log"
    (place / "c.log").unlink()
    mounts.bind(logged.directory, place)
    logged.rotate()
    logged.daemon.call("ReopenContainerLog", container_id=container)
    eventually((logged.directory / "c.log").read_text, "the new log has a line")
    assert not [p for p in mounts.table() if p.target == str(place)]
    remove_pod(logged.daemon, logged.pod)


def test_a_log_directory_that_was_made_anew(logged: Logged) -> None:
    """The new file is in the directory that has the name now; it works across a restart of the daemon, too."""
    container = logged.start()
    logged.directory.rename(logged.directory.with_name("old"))
    logged.directory.mkdir()
    logged.daemon.kill()
    logged.daemon.start()
    logged.daemon.call("ReopenContainerLog", container_id=container)
    eventually(lambda: (logged.directory / "c.log").read_text(), "the new log has a line")
    assert info(logged.daemon, container)["pid"] > 0
    state = logged.daemon.call("ContainerStatus", container_id=container).status.state
    assert state == cri.CONTAINER_RUNNING
    remove_pod(logged.daemon, logged.pod)


def test_a_log_on_a_tmpfs_adds_no_mount(daemon: Daemon) -> None:
    """A kubelet takes each mount of a tmpfs for a file system, and fails when one is gone: a link instead."""
    logged = Logged(daemon, daemon.directory)
    container = logged.start()
    place = daemon.run / "roots" / container / "log"
    assert (place / "c.log").resolve() == (logged.directory / "c.log").resolve()
    assert not [p for p in mounts.table() if p.target.startswith(str(place))]
    logged.rotate()
    daemon.call("ReopenContainerLog", container_id=container)
    eventually(lambda: (logged.directory / "c.log").exists(), "the log is there anew")
    remove_pod(daemon, logged.pod)
    assert not os.path.lexists(place)
    shutil.rmtree(logged.directory)
