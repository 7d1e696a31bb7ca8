"""A WebSocket client of one thread (blocking), its head our own.

The library's client reads TLS in a thread beside the one that writes, which Python's ssl does not bear before 3.13, and
refuses the name of Kubernetes' tunnel.
"""

import base64
import os

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from tests.support.streams.upgrade import upgrade


class WebSocket:
    def __init__(self, url: str, subprotocol: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        headers = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
        self._socket = upgrade(url, *headers, f"Sec-WebSocket-Protocol: {subprotocol}", method="GET")
        self._protocol = ClientProtocol(parse_uri("wss://server"), state=State.OPEN, max_size=None)
        self._frames: list[Frame] = []

    def send(self, data: bytes) -> None:
        """Send a binary message."""
        self._protocol.send_binary(data)
        self._flush()

    def receive(self, timeout: float = 20.0) -> bytes:
        """The next message; b"" at the end. TimeoutError."""
        message = b""
        while True:
            frame = self._frame(timeout)
            if frame is None or frame.opcode is Opcode.CLOSE:
                return b""
            if frame.opcode in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
                message += frame.data
                if frame.fin and message:
                    return message

    def close(self) -> None:
        self._socket.close()

    def _frame(self, timeout: float) -> Frame | None:
        self._socket.settimeout(timeout)
        while not self._frames:
            self._frames += [e for e in self._protocol.events_received() if isinstance(e, Frame)]
            self._flush()
            if not self._frames:
                received = self._socket.recv(65536)
                if not received:
                    return None
                self._protocol.receive_data(received)
        return self._frames.pop(0)

    def _flush(self) -> None:
        self._socket.sendall(b"".join(self._protocol.data_to_send()))
