"""Hostile clients of the streaming server of a running daemon: while they do their worst, Status answers; afterwards
memory and descriptors are back.
"""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from crishim.cri.stream.remotecommand.protocol import V4, V5
from crishim.cri.stream.spdy.events import SESSION
from crishim.cri.stream.spdy.frames import (
    SETTING_INITIAL_WINDOW,
    Data,
    GoAway,
    Ping,
    RstStream,
    Settings,
    SynStream,
    WindowUpdate,
)
from tests.support import pods
from tests.support.daemon import Daemon, eventually
from tests.support.daemon_load import Watch, descriptors, resident
from tests.support.streams.raw import RawSpdy, closing, frame, raw_websocket, until_closed

pytestmark = pytest.mark.node

PROMPT = 2.0  # seconds for a Status, on a machine that has other work too
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def pod(node: Daemon) -> Iterator[str]:
    pod = pods.run_pod(node)
    yield pod
    pods.remove_pod(node, pod)


@pytest.fixture(scope="module")
def container(node: Daemon, pod: str) -> str:
    return pods.start(node, pod)


@pytest.fixture
def harmless(node: Daemon, pod: str, container: str) -> Iterator[Watch]:
    """The attack goes on while the test does: it disturbs nobody, and memory and descriptors come back."""
    with closing(RawSpdy(forward_url(node, pod))) as warm:
        warm.settle()
    with contextlib.closing(raw_websocket(exec_url(node, container, "true"), V5)) as once:
        until_closed(once)
    memory, files = resident(node), descriptors(node)
    with Watch(node) as watch:
        yield watch
    assert watch.answers > 0
    assert watch.slowest < PROMPT
    eventually(lambda: descriptors(node) <= files, "the descriptors are back")
    eventually(lambda: resident(node) < memory + 10 * MEGABYTE, "the memory is back")


def forward_url(node: Daemon, pod: str) -> str:
    return str(node.call("PortForward", pod_sandbox_id=pod).url)


def exec_url(node: Daemon, container: str, *command: str, **streams: bool) -> str:
    streams = {"stdin": True, "stdout": True} | streams
    return str(node.call("Exec", container_id=container, cmd=command, **streams).url)


def test_halves_that_are_opened_and_reset(node: Daemon, pod: str, harmless: Watch) -> None:
    """40,000 half port-forwards, reset as soon as they are opened."""
    with closing(RawSpdy(forward_url(node, pod))) as client:
        for at in range(0, 40_000, 1000):
            numbers = range(2 * at + 1, 2 * at + 2001, 2)
            client.send(*(f for n in numbers for f in (client.open(n, str(n)), RstStream(n, 5))))
        client.settle()


def test_pairs_that_are_opened_and_reset(node: Daemon, pod: str, harmless: Watch) -> None:
    """Whole port-forwards, reset at once: no more are at work than a client that keeps them would have."""
    with closing(RawSpdy(forward_url(node, pod))) as client:
        for n in range(1, 20_000, 4):
            pair = (client.open(n, str(n), "error"), client.open(n + 2, str(n)))
            client.send(*pair, RstStream(n + 2, 5), RstStream(n, 5))
        client.settle()


def test_windows_of_a_thousand_streams(node: Daemon, pod: str, harmless: Watch) -> None:
    """WINDOW_UPDATEs and SETTINGS for a session with a thousand streams."""
    with closing(RawSpdy(forward_url(node, pod))) as client:
        client.send(*(client.open(n, str(n)) for n in range(1, 2001, 2)))
        client.send(*(WindowUpdate(SESSION, 1) for _ in range(50_000)))
        client.send(*(WindowUpdate(1, 1) for _ in range(50_000)))
        client.settle()
        client.send(*(Settings({SETTING_INITIAL_WINDOW: n}) for n in range(50_000)))
        client.until(GoAway(1999, 1))


def test_frames_without_end(node: Daemon, pod: str, harmless: Watch) -> None:
    """Pings, empty data, data for nobody, unknown frames, from several clients at once."""
    clients = [RawSpdy(forward_url(node, pod)) for _ in range(8)]
    for client in clients:
        client.send(SynStream(1, {"streamtype": "data", "port": "80", "requestid": "1"}))
        client.sock.sendall(bytes.fromhex("8003006300000000") * 5000)
        client.send(*(Ping(2 * n + 3) for n in range(5000)))
        client.send(*(Data(1, b"", False) for _ in range(5000)), *(Data(99, b"x", False) for _ in range(5000)))
    for client in clients:
        client.settle()
        client.close()


def test_headers_that_unpack_to_much(node: Daemon, pod: str, harmless: Watch) -> None:
    """A small frame of large headers ends the session with a GOAWAY; large ones are kept by no stream."""
    with closing(RawSpdy(forward_url(node, pod))) as client:
        headers = {"streamtype": "data", "port": "80", "x": "y" * 7000}
        client.send(*(SynStream(n, {**headers, "requestid": str(n)}) for n in range(1, 2001, 2)))
        client.settle()
        assert resident(node) < 200 * MEGABYTE
        client.send(SynStream(2001, {"x": "y" * 1_000_000}))
        client.until(GoAway(1999, 1))


def test_a_session_that_sends_what_nobody_takes(node: Daemon, pod: str, harmless: Watch) -> None:
    """256 KB for each of a thousand halves: the daemon stops reading long before it holds them."""
    before = resident(node)
    with closing(RawSpdy(forward_url(node, pod))) as client:
        client.send(*(client.open(n, str(n)) for n in range(1, 2001, 2)))
        client.settle()
        client.sock.settimeout(1)
        large = b"".join(client.writer.write(Data(n, bytes(256 * 1024), False)) for n in range(1, 2001, 2))
        with pytest.raises(TimeoutError):
            client.sock.sendall(large)
        assert resident(node) - before < 12 * MEGABYTE


def test_close_signals_in_fragments(node: Daemon, container: str, harmless: Watch) -> None:
    """A close signal in a hundred thousand fragments of a byte each is refused at the second."""
    with contextlib.closing(raw_websocket(exec_url(node, container, "cat"), V5)) as sock:
        fragments = frame(0, b"x", fin=False)
        try:
            sock.sendall(frame(2, b"\xff", fin=False) + fragments * 100_000)
        except OSError:
            pass  # refused before all was sent
        else:
            assert b"a close signal is for one channel" in until_closed(sock)


@pytest.mark.parametrize("flood", ["continuations", "pings", "resizes"])
def test_websocket_floods(node: Daemon, container: str, harmless: Watch, flood: str) -> None:
    """Empty continuations, pings and sizes without end: all are worked through, and the terminal still answers."""
    with contextlib.closing(raw_websocket(exec_url(node, container, "sh", tty=True), V5)) as sock:
        if flood == "continuations":
            sock.sendall(frame(2, b"\x00", fin=False) + frame(0, b"", fin=False) * 100_000 + frame(0, b""))
        elif flood == "pings":
            for _ in range(100):  # their pongs have to be read
                sock.sendall(frame(9, b"") * 500)
                read_pongs(sock, 500)
        else:
            sizes = b"".join(frame(2, b'\x04{"Width":%d,"Height":5}' % (n % 200 + 1)) for n in range(20_000))
            sock.sendall(sizes)
        sock.sendall(frame(2, b"\x00echo do''ne\n"))
        said = b""
        while b"done" not in said:
            received = sock.recv(1 << 16)
            assert received
            said += received


def read_pongs(sock: object, count: int) -> None:
    said = b""
    while said.count(b"\x8a\x00") < count:
        said += sock.recv(1 << 16)  # type: ignore[attr-defined]


def test_clients_that_never_read(node: Daemon, container: str, harmless: Watch) -> None:
    """Thirty commands that write without end to clients that do not read: each stops, and little is held for each."""
    before, clients = resident(node), []
    for _ in range(30):
        client = RawSpdy(exec_url(node, container, "dd", "if=/dev/zero", "bs=64k", stdin=False), V4, reads=False)
        client.send(SynStream(1, {"streamtype": "error"}), SynStream(3, {"streamtype": "stdout"}))
        clients.append(client)
    eventually(lambda: all(waits(client) for client in clients), "all have output that waits")
    stands_still(node)
    assert resident(node) - before < 30 * MEGABYTE
    for client in clients:
        client.close()


def waits(client: RawSpdy) -> bool:
    return len(client.sock.recv(100_000, socket.MSG_PEEK | socket.MSG_DONTWAIT)) > 50_000


def stands_still(node: Daemon) -> None:
    """Wait until the daemon has nothing to do: what it would hold for these clients, it holds now."""
    assert node.process is not None
    used, since = -1.0, time.monotonic()

    def still() -> bool:
        nonlocal used, since
        assert node.process is not None
        with open(f"/proc/{node.process.pid}/io") as file:
            now = float(file.read().split()[3])  # wchar
        if now - used > 2_000_000:  # Status answers are bytes too
            used, since = now, time.monotonic()
        return time.monotonic() - since > 1

    eventually(still, "the commands' output stands still", 40)


def test_a_port_that_never_accepts(node: Daemon, pod: str, container: str, harmless: Watch) -> None:
    """Connections to a socket whose owner does not accept: bounded, while the pod's other port is served at once."""
    script = "while :; do echo alive | nc -l -p 7001; done & nc -l -p 7000 -e sleep 1000 & wait"
    server = pods.start(node, pod, pods.container_config("server", command=["sh", "-c", script]))
    with closing(RawSpdy(forward_url(node, pod))) as stuck, closing(RawSpdy(forward_url(node, pod))) as other:
        for n in range(1, 1200, 4):
            stuck.send(stuck.open(n, str(n), "error", 7000), stuck.open(n + 2, str(n), port=7000))
        stuck.settle()
        stream = 1

        def answered() -> bool:
            nonlocal stream
            other.send(other.open(stream, str(stream), "error", 7001), other.open(stream + 2, str(stream), port=7001))
            stream += 4
            other.settle(stream)
            return any(isinstance(f, Data) and f.data == b"alive\n" for f in other.received)

        eventually(answered, "the other port answers")
    node.call("StopContainer", container_id=server, timeout=0)
    node.call("RemoveContainer", container_id=server)
