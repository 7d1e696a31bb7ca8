"""exec, attach and port-forward through the kubelet's port, over WebSocket as kubectl does it.

Protocol v5.channel.k8s.io: the first byte of a message is its channel: 0 stdin, 1 stdout, 2 stderr, 3 the result (a
Status as JSON), 4 the terminal's size, 255 closes the channel its second byte names.
"""

import contextlib
import json
import ssl
import urllib.parse
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from hack.kubelet.process import NAME, PORT


def dial(
    kind: str, pod: str, container: str, query: list[tuple[str, str]], protocol: str
) -> contextlib.AbstractContextManager[ClientConnection]:
    """Open `exec`, `attach` or `portForward` of a pod; twice more if the kubelet hangs up before it has the request."""
    context = ssl._create_unverified_context()
    path = "/".join(filter(None, (kind, "default", f"{pod}-{NAME}", container)))
    url = f"wss://127.0.0.1:{PORT}/{path}?{urllib.parse.urlencode(query)}"
    for _ in range(2):
        with contextlib.suppress(ConnectionClosed, ssl.SSLError, ConnectionError):
            return connect(url, subprotocols=[Subprotocol(protocol)], ssl=context, proxy=None, open_timeout=20)
    return connect(url, subprotocols=[Subprotocol(protocol)], ssl=context, proxy=None, open_timeout=20)


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
        self._open = contextlib.ExitStack()
        self.socket: ClientConnection = self._open.enter_context(dial(kind, pod, container, query, protocol))
        self.read = {1: b"", 2: b"", 3: b""}

    def write(self, data: bytes, channel: int = 0) -> None:
        self.socket.send(bytes([channel]) + data)

    def close_stdin(self) -> None:
        self.socket.send(bytes([255, 0]))

    def until(self, wanted: bytes, timeout: float = 20.0) -> bytes:
        """Read until standard output has these bytes."""
        while wanted not in self.read[1]:
            self._receive(timeout)
        return self.read[1]

    def result(self, timeout: float = 20.0) -> tuple[int, bytes, bytes]:
        """Read to the end: exit code, standard output, standard error."""
        try:
            while True:
                self._receive(timeout)
        except ConnectionClosed:
            pass
        self.close()
        return exit_code(json.loads(self.read[3])), self.read[1], self.read[2]

    def close(self) -> None:
        self._open.close()

    def _receive(self, timeout: float) -> None:
        message = self.socket.recv(timeout)
        assert isinstance(message, bytes)
        if message[:1] != b"\xff":
            self.read[message[0]] += message[1:]


def exit_code(status: dict[str, Any]) -> int:
    """The exit code in a metav1.Status; -1 for a failure that is none."""
    if status.get("status") == "Success":
        return 0
    causes = status.get("details", {}).get("causes", [])
    return next((int(c["message"]) for c in causes if c.get("reason") == "ExitCode"), -1)


def forwarded(pod: str, port: int, data: bytes) -> bytes:
    """Send data to a port of a pod, and read until the connection ends: the v4 port-forward, two channels a port."""
    answer = b""
    with dial("portForward", pod, "", [("port", str(port))], "v4.channel.k8s.io") as socket:
        opened = {0: 2, 1: 2}  # each channel first names its port
        socket.send(b"\0" + data)
        try:
            while True:
                message = socket.recv(20)
                assert isinstance(message, bytes)
                channel, body = message[0], message[1:]
                skip = min(opened[channel], len(body))
                opened[channel] -= skip
                body = body[skip:]
                assert channel == 0 or not body, body
                answer += body
        except ConnectionClosed:
            return answer
