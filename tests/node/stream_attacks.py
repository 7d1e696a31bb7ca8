"""Hostile clients of a daemon's streaming server, and a look at what their attacks do to the others."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from crishim.cri.stream.portforward.protocol import PROTOCOL
from crishim.cri.stream.spdy.frames import Frame, FrameReader, FrameWriter, Ping, SynStream
from tests.node.daemon import Daemon

WEBSOCKET = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]


class Watch:
    """Asks for Status over and over while something goes on. slowest: seconds the slowest answer took."""

    def __init__(self, daemon: Daemon) -> None:
        self.slowest = 0.0
        self.answers = 0
        self._daemon = daemon
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.is_set():
            started = time.monotonic()
            try:
                self._daemon.call("Status", deadline=60)
                self.answers += 1
            finally:
                self.slowest = max(self.slowest, time.monotonic() - started)
            self._over.wait(0.05)


def resident(daemon: Daemon) -> int:
    """Bytes of memory the daemon has."""
    assert daemon.process is not None
    return int(Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1]) * 4096


def descriptors(daemon: Daemon) -> int:
    assert daemon.process is not None
    return len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return socket.create_connection((parts.hostname, parts.port), timeout=60)


def ask(url: str, *headers: str, method: str = "POST") -> tuple[socket.socket, str]:
    """Send a request; the connection and the head of the answer."""
    sock = connect(url)
    parts = urlsplit(url)
    lines = [f"{method} {parts.path} HTTP/1.1", f"Host: {parts.netloc}", "Connection: Upgrade", *headers, "", ""]
    sock.sendall("\r\n".join(lines).encode())
    head = b""
    while b"\r\n\r\n" not in head:
        received = sock.recv(1)
        assert received, head
        head += received
    return sock, head.decode()


class Refused(Exception):
    """The head of an answer that is no 101."""


class Spdy:
    """A SPDY client that sends what it is told and reads in a thread, unless it is one that never reads."""

    def __init__(self, url: str, version: str = PROTOCOL, reads: bool = True) -> None:
        self.sock, head = ask(url, "Upgrade: SPDY/3.1", f"X-Stream-Protocol-Version: {version}")
        if " 101 " not in head:
            self.sock.close()
            raise Refused(head)
        self.received: list[Frame] = []
        self.writer = FrameWriter()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        if reads:
            self._thread.start()

    def send(self, *frames: Frame) -> None:
        self.sock.sendall(b"".join(self.writer.write(frame) for frame in frames))

    def open(self, stream: int, request: str, kind: str = "data", port: int = 80) -> SynStream:
        return SynStream(stream, {"streamtype": kind, "port": str(port), "requestid": request})

    def settle(self, number: int = 1, seconds: float = 60) -> None:
        """Wait until the daemon has worked through all that was sent: it answers pings in order."""
        self.send(Ping(number))
        self.until(Ping(number), seconds)

    def until(self, frame: Frame, seconds: float = 60) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: frame in self.received, seconds), f"{frame} did not come"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join()
        self.sock.close()

    def _read(self) -> None:
        reader = FrameReader()
        with contextlib.suppress(OSError):
            while data := self.sock.recv(1 << 20):
                reader.receive_data(data)
                with self._changed:
                    while (frame := reader.next_frame()) is not None:
                        self.received.append(frame)
                    self._changed.notify_all()


@contextlib.contextmanager
def closing(client: Spdy) -> Iterator[Spdy]:
    try:
        yield client
    finally:
        client.close()


def frame(opcode: int, payload: bytes, fin: bool = True) -> bytes:
    """A client's WebSocket frame of at most 125 bytes, with a mask of zeros."""
    return bytes([opcode | (0x80 if fin else 0), 0x80 | len(payload)]) + bytes(4) + payload


def websocket(url: str, subprotocol: str) -> socket.socket:
    sock, head = ask(url, *WEBSOCKET, f"Sec-WebSocket-Protocol: {subprotocol}", method="GET")
    assert " 101 " in head, head
    return sock


def until_closed(sock: socket.socket, seconds: float = 30) -> bytes:
    """What the daemon says until it closes."""
    sock.settimeout(seconds)
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(1 << 16):
            said += data
    return said
