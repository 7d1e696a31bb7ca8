"""Clients that use up descriptors: the daemon keeps half of them for the CRI, and says so to whom it refuses."""

import contextlib
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from crishim.cri.stream.remotecommand.protocol import V4
from crishim.cri.stream.spdy.frames import SynStream
from tests.support import pods
from tests.support.daemon import Daemon, eventually, scratch_daemon
from tests.support.daemon_load import Watch, descriptors
from tests.support.streams.raw import RawSpdy, until_closed
from tests.support.streams.upgrade import Refused, ask, connect

pytestmark = pytest.mark.node

DESCRIPTORS = 256


@contextlib.contextmanager
def few_descriptors() -> Iterator[None]:
    """What is started in this context may have no more than DESCRIPTORS."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def poor(busybox_archive: Path) -> Iterator[Daemon]:
    """A daemon with few descriptors."""
    with contextlib.ExitStack() as stack:
        with few_descriptors():
            daemon = stack.enter_context(scratch_daemon())
        done = daemon.command("images", "import", str(busybox_archive))
        assert done.returncode == 0, done.stderr
        pod = pods.run_pod(daemon)  # from here on what stays open is the same
        daemon.crictl("exec", pods.start(daemon, pod), "true")
        pods.remove_pod(daemon, pod)
        yield daemon


def exec_url(daemon: Daemon, container: str) -> str:
    return str(daemon.call("Exec", container_id=container, cmd=["cat"], stdin=True, stdout=True).url)


def test_idle_connections(poor: Daemon) -> None:
    """Twice as many idle connections as there are descriptors: pods are made, commands run, and files come back."""
    before = descriptors(poor)
    pod = pods.run_pod(poor)
    container = pods.start(poor, pod)
    url = exec_url(poor, container)
    with Watch(poor) as watch, contextlib.ExitStack() as held:
        idle = [held.enter_context(connect(url)) for _ in range(2 * DESCRIPTORS)]
        for sock in idle[DESCRIPTORS:]:
            with contextlib.suppress(OSError):  # it may have been turned away
                sock.sendall(b"POST /exec/")
        assert descriptors(poor) < DESCRIPTORS * 3 // 4
        another = pods.run_pod(poor)
        assert poor.crictl("exec", container, "echo", "served") == "served\n"
        assert pods.execute(poor, container, "echo", "too") == (0, "too\n")
        pods.remove_pod(poor, another)
        assert until_closed(idle[0]).startswith(b"HTTP/1.1 503 ")
    assert watch.slowest < 2
    pods.remove_pod(poor, pod)
    eventually(lambda: descriptors(poor) <= before, "the descriptors are back")


def test_sessions_without_end(poor: Daemon) -> None:
    """One container's sessions: from some number on they are 429, another container still has room, pods are made."""
    before = descriptors(poor)
    pod = pods.run_pod(poor)
    first, second = pods.start(poor, pod), pods.start(poor, pod, pods.container_config("second"))
    clients: list[RawSpdy] = []
    refused = ""
    while not refused:
        assert len(clients) < 20
        try:
            client = RawSpdy(exec_url(poor, first), V4)
        except Refused as answer:
            refused = str(answer)
        else:
            streams = ((1, "error"), (3, "stdin"), (5, "stdout"))
            client.send(*(SynStream(number, {"streamtype": kind}) for number, kind in streams))
            clients.append(client)
    assert "429 Too Many Requests" in refused
    assert clients
    assert poor.crictl("exec", second, "echo", "served") == "served\n"
    another = pods.run_pod(poor)
    pods.remove_pod(poor, another)
    for client in clients:
        client.close()
    eventually(lambda: poor.crictl("exec", first, "echo", "again", check=False) == "again\n", "there is room again")
    pods.remove_pod(poor, pod)
    eventually(lambda: descriptors(poor) <= before, "the descriptors are back")


def test_a_flood_of_connections(poor: Daemon) -> None:
    """Connections that come and go as fast as they can, with and without a request: Status answers meanwhile."""
    before = descriptors(poor)
    pod = pods.run_pod(poor)
    url = exec_url(poor, pods.start(poor, pod)).rpartition("/")[0] + "/nonesuch"
    with Watch(poor) as watch:
        for _ in range(2000):
            connect(url).close()
        for _ in range(200):
            sock, head = ask(url)
            assert " 404 " in head
            sock.shutdown(socket.SHUT_RDWR)
            sock.close()
    assert watch.slowest < 2
    pods.remove_pod(poor, pod)
    eventually(lambda: descriptors(poor) <= before, "the descriptors are back")
