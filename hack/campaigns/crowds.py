"""Crowds: a thousand of each kind of client at once, those that never read, and ten thousand that never finish.

Status answers within a second throughout, and what the crowd took is back when it is gone: memory to within 10 MB,
every descriptor. A crowd is spread over PODS pods, as one pod may have a share of the sessions only.
"""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from crishim.cri.stream.remotecommand.protocol import V4
from crishim.cri.stream.spdy.frames import RstStream, SynStream
from hack.campaigns.ground import a_node
from hack.campaigns.table import Row
from hack.campaigns.watch import Watch
from tests.support.daemon import Daemon
from tests.support.daemon_load import descriptors, resident
from tests.support.pods import container_config, create, pod_config, run_pod
from tests.support.streams.raw import RawSpdy
from tests.support.streams.upgrade import connect

T = TypeVar("T")
PODS = 5
STATUS = 1.0  # seconds
MEMORY = 10 << 20  # bytes
SERVER = ["sh", "-c", "httpd -f -p 80 -h /etc & sleep 1000000"]


class Crowd:
    """Clients of one kind."""

    def __init__(self, daemon: Daemon, containers: list[str], pods: list[str]) -> None:
        self.daemon, self.containers, self.pods = daemon, containers, pods

    def exec_session(self, number: int, *command: str, reads: bool = True) -> RawSpdy:
        request = {"container_id": self.containers[number % PODS], "cmd": command, "stdin": True, "stdout": True}
        client = RawSpdy(self.daemon.call("Exec", deadline=120, **request).url, V4, reads=reads)
        client.send(*(SynStream(n, {"streamtype": kind}) for n, kind in ((1, "error"), (3, "stdin"), (5, "stdout"))))
        return client

    def forward(self, number: int) -> RawSpdy:
        client = self.forwarding(number)
        client.send(client.open(1, "0", "error"), client.open(3, "0"))
        client.settle()
        return client

    def forwarding(self, number: int) -> RawSpdy:
        request = {"pod_sandbox_id": self.pods[number % PODS], "port": [80]}
        return RawSpdy(self.daemon.call("PortForward", deadline=120, **request).url)

    def sessions(self, size: int) -> list[RawSpdy]:
        """Commands that wait for input, all at once."""

        def session(number: int) -> RawSpdy:
            client = self.exec_session(number, "cat")
            client.settle(seconds=240)
            return client

        return self._at_once(session, size)

    def forwards(self, size: int) -> list[RawSpdy]:
        return self._at_once(self.forward, size)

    def deaf(self, size: int) -> list[RawSpdy]:
        """Commands that print without an end, to clients that never read."""
        return self._at_once(lambda number: self.exec_session(number, "yes", reads=False), size)

    def half_open(self, size: int) -> list[socket.socket]:
        """Connections that begin a request and never end it; the daemon may turn them away."""
        url = self.daemon.call("Exec", container_id=self.containers[0], cmd=["true"], stdout=True).url

        def begin(number: int) -> socket.socket:
            made = connect(url)
            with contextlib.suppress(OSError):
                made.sendall(b"POST /exec/x HTTP/1.1\r\nHost: x\r\n")
            return made

        return self._at_once(begin, size)

    def half_forwards(self, size: int) -> list[RawSpdy]:
        """One session that opens half a forward and resets it, over and over."""
        client = self.forwarding(0)
        for first in range(0, size, 100):
            numbers = range(2 * first + 1, 2 * (first + 100) + 1, 2)
            client.send(*(f for n in numbers for f in (client.open(n, str(n)), RstStream(n, 5))))
        client.settle(seconds=240)
        return [client]

    def _at_once(self, make: Callable[[int], T], size: int) -> list[T]:
        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(make, range(size)))


CROWDS = {
    "exec sessions": ("sessions", 1000),
    "port-forwards": ("forwards", 1000),
    "clients that never read": ("deaf", 200),
    "half-open connections": ("half_open", 10_000),
    "half port-forwards in one session": ("half_forwards", 10_000),
}


def campaign(part: float, only: str = "") -> list[Row]:
    """A row for each crowd; part: how much of its size."""
    rows = []
    with a_node() as daemon:
        pods, containers = [], []
        for number in range(PODS):
            config = pod_config(f"crowd-{number}")
            pods.append(run_pod(daemon, config))
            containers.append(create(daemon, pods[-1], container_config(command=SERVER), config))
            daemon.call("StartContainer", container_id=containers[-1])
        crowd = Crowd(daemon, containers, pods)
        for title, (name, size) in CROWDS.items():
            if title.startswith(only):
                few, many = max(2 * PODS, int(size * part) // 10), max(2 * PODS, int(size * part))
                row = Row("crowds", f"{many:,} {title}")
                with _held(row, daemon):  # what a first client costs once, such as an import, is not what is looked for
                    _part(getattr(crowd, name)(few))
                    _settle(daemon)
                    _gather(daemon, row, many, lambda name=name, many=many: getattr(crowd, name)(many))  # type: ignore[misc]
                rows.append(row)
                print(f"crowds: {row.part}: {row.says}, lost {len(row.lost)}, left {len(row.left)}", flush=True)
    return rows


@contextlib.contextmanager
def _held(row: Row, daemon: Daemon) -> Iterator[None]:
    try:
        yield
    except (AssertionError, OSError, TimeoutError) as error:
        row.lost.append(f"{type(error).__name__}: {error}")


def _gather(daemon: Daemon, row: Row, many: int, make: Callable[[], list[RawSpdy] | list[socket.socket]]) -> None:
    started = time.monotonic()
    with Watch(daemon) as watch:
        memory, files = resident(daemon), descriptors(daemon)  # the watch's own connection among them
        clients = make()
        row.runs = many
        most = resident(daemon)
        _part(clients)
        _settle(daemon, memory, files)
        grown, kept = resident(daemon) - memory, descriptors(daemon) - files
    row.says = (
        f"Status {watch.slowest * 1000:.0f} ms at most; {most - memory >> 20} MB while they are there, "
        f"{grown / (1 << 20):.1f} MB afterwards; {time.monotonic() - started:.0f} s"
    )
    if not watch.answers or watch.slowest > STATUS:
        row.lost.append(f"Status took {watch.slowest:.1f} s")
    if grown > MEMORY:
        row.left.append(f"{grown >> 20} MB")
    if kept > 0:
        row.left.append(f"{kept} descriptors")


def _part(clients: list[RawSpdy] | list[socket.socket]) -> None:
    for client in clients:
        with contextlib.suppress(OSError):
            client.close()


def _settle(daemon: Daemon, memory: int | None = None, files: int | None = None) -> None:
    """Wait until memory and descriptors are back, or do not change any more."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        seen = (resident(daemon), descriptors(daemon))
        if memory is not None and files is not None and seen[0] <= memory + MEMORY and seen[1] <= files:
            return
        time.sleep(1)
        if memory is None and abs(resident(daemon) - seen[0]) < 1 << 16 and descriptors(daemon) == seen[1]:
            return
