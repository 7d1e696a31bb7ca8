"""Clients that send frames as they are told, for attacks (blocking)."""

import contextlib
import socket
import threading
from collections.abc import Iterator

from crishim.cri.stream.portforward.protocol import PROTOCOL
from crishim.cri.stream.spdy.frames import Frame, FrameWriter, Ping, SpdyFrameReader, SynStream
from tests.support.streams.upgrade import upgrade

WEBSOCKET = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]


class RawSpdy:
    """A SPDY client that sends what it is told and reads in a thread, unless it is one that never reads."""

    def __init__(self, url: str, version: str = PROTOCOL, reads: bool = True) -> None:
        self.sock = upgrade(url, "Upgrade: SPDY/3.1", f"X-Stream-Protocol-Version: {version}", timeout=60)
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
        reader = SpdyFrameReader()
        with contextlib.suppress(OSError):
            while data := self.sock.recv(1 << 20):
                reader.receive_data(data)
                with self._changed:
                    while (frame := reader.next_frame()) is not None:
                        self.received.append(frame)
                    self._changed.notify_all()


@contextlib.contextmanager
def closing(client: RawSpdy) -> Iterator[RawSpdy]:
    try:
        yield client
    finally:
        client.close()


def frame(opcode: int, payload: bytes, fin: bool = True) -> bytes:
    """A client's WebSocket frame of at most 125 bytes, with a mask of zeros."""
    return bytes([opcode | (0x80 if fin else 0), 0x80 | len(payload)]) + bytes(4) + payload


def raw_websocket(url: str, subprotocol: str) -> socket.socket:
    return upgrade(url, *WEBSOCKET, f"Sec-WebSocket-Protocol: {subprotocol}", method="GET", timeout=60)


def until_closed(sock: socket.socket, seconds: float = 30) -> bytes:
    """What the daemon says until it closes."""
    sock.settimeout(seconds)
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(1 << 16):
            said += data
    return said
