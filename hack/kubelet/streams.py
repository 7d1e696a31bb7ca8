"""exec, attach and port-forward through the kubelet's port, over WebSocket as kubectl does it.

Protocol v5.channel.k8s.io: the first byte of a message is its channel: 0 stdin, 1 stdout, 2 stderr, 3 the result (a
Status as JSON), 4 the terminal's size, 255 closes the channel its second byte names.
"""

import base64
import json
import os
import socket
import ssl
import urllib.parse
from collections.abc import Callable
from typing import Any

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from hack.kubelet.process import NAME, PORT


def upgraded(method: str, path: str, headers: list[str]) -> tuple[ssl.SSLSocket, bytes]:
    """A connection to the kubelet's port after its 101, and what came behind that."""
    context = ssl._create_unverified_context()
    connection = context.wrap_socket(socket.create_connection(("127.0.0.1", PORT), timeout=30))
    lines = [f"{method} {path} HTTP/1.1", "Host: kubelet", "Connection: Upgrade", "Content-Length: 0", *headers, "", ""]
    connection.sendall("\r\n".join(lines).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        received = connection.recv(4096)
        if not received:
            break
        answer += received
    head, _, surplus = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101 "):
        connection.close()
        raise AssertionError(f"{path}: {answer!r}")
    return connection, surplus


Upgrade = Callable[[str, str, list[str]], tuple[socket.socket, bytes]]


class WebSocket:
    """A WebSocket of one thread, its head our own: the library's client reads TLS in a thread beside the one that
    writes, which Python's ssl does not bear before 3.13, and refuses the tunnel's name."""

    def __init__(self, path: str, subprotocol: str, upgrade: Upgrade = upgraded) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        headers = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
        self._socket, surplus = upgrade("GET", path, [*headers, f"Sec-WebSocket-Protocol: {subprotocol}"])
        self._protocol = ClientProtocol(parse_uri("wss://kubelet"), state=State.OPEN, max_size=None)
        self._protocol.receive_data(surplus)
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


def path_of(kind: str, pod: str, container: str, query: list[tuple[str, str]]) -> str:
    """The address of `exec`, `attach` or `portForward` of a pod at the kubelet."""
    parts = filter(None, (kind, "default", f"{pod}-{NAME}", container))
    return f"/{'/'.join(parts)}?{urllib.parse.urlencode(query)}"


class Remote:
    """One exec or attach. protocol: v4 has no way to end standard input."""

    def __init__(
        self,
        kind: str,
        pod: str,
        container: str,
        *command: str,
        stdin: bool = False,
        tty: bool = False,
        protocol: str = "v5.channel.k8s.io",
    ) -> None:
        query = [("command", word) for word in command] + [("output", "1")]
        query += [("input", "1")] * stdin + [("tty", "1") if tty else ("error", "1")]
        self.socket = WebSocket(path_of(kind, pod, container, query), protocol)
        self.read = {1: b"", 2: b"", 3: b""}

    def write(self, data: bytes, channel: int = 0) -> None:
        self.socket.send(bytes([channel]) + data)

    def close_stdin(self) -> None:
        self.socket.send(bytes([255, 0]))

    def until(self, wanted: bytes, timeout: float = 20.0) -> bytes:
        """Read until standard output has these bytes."""
        while wanted not in self.read[1]:
            assert self._receive(timeout), self.read
        return self.read[1]

    def result(self, timeout: float = 20.0) -> tuple[int, bytes, bytes]:
        """Read to the end: exit code, standard output, standard error."""
        while self._receive(timeout):
            pass
        self.close()
        return exit_code(json.loads(self.read[3])), self.read[1], self.read[2]

    def close(self) -> None:
        self.socket.close()

    def _receive(self, timeout: float) -> bool:
        message = self.socket.receive(timeout)
        if message and message[:1] != b"\xff":
            self.read[message[0]] += message[1:]
        return bool(message)


def exit_code(status: dict[str, Any]) -> int:
    """The exit code in a metav1.Status; -1 for a failure that is none."""
    if status.get("status") == "Success":
        return 0
    causes = status.get("details", {}).get("causes", [])
    return next((int(c["message"]) for c in causes if c.get("reason") == "ExitCode"), -1)


def forwarded(pod: str, port: int, data: bytes) -> bytes:
    """Send data to a port of a pod, and read until the connection ends: the v4 port-forward, two channels a port."""
    answer = b""
    socket = WebSocket(path_of("portForward", pod, "", [("port", str(port))]), "v4.channel.k8s.io")
    opened = {0: 2, 1: 2}  # each channel first names its port
    socket.send(b"\0" + data)
    while message := socket.receive():
        channel, body = message[0], message[1:]
        skip = min(opened[channel], len(body))
        opened[channel] -= skip
        body = body[skip:]
        assert channel == 0 or not body, body
        answer += body
    socket.close()
    return answer
