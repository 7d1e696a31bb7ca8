"""exec and attach (blocking), over SPDY as older clients do it and over WebSocket as kubectl does it now.

Over WebSocket the first byte of a message is its channel: 0 stdin, 1 stdout, 2 stderr, 3 the result (a Status as JSON),
4 the terminal's size; 255 closes the channel its second byte names (v5 only). Over SPDY a stream says in its header
`streamtype` what it carries.
"""

import json
from typing import Any, Protocol

from tests.support.streams.spdy import DirectTransport, SpdyStreams
from tests.support.streams.websocket import WebSocket

V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"


class RemoteCommand(Protocol):
    """One exec or attach, over either."""

    def write(self, data: bytes) -> None: ...

    def resize(self, width: int, height: int) -> None: ...

    def close_stdin(self) -> None: ...

    def until(self, wanted: bytes, timeout: float = 20.0) -> bytes:
        """Read until standard output has these bytes."""

    def result(self, timeout: float = 20.0) -> tuple[int, bytes, bytes]:
        """Read to the end: exit code, standard output, standard error."""

    def close(self) -> None: ...


class WebSocketCommand:
    """protocol: V4 has no way to end standard input."""

    def __init__(self, url: str, protocol: str = V5) -> None:
        self._socket = WebSocket(url, protocol)
        self.read = {1: b"", 2: b"", 3: b""}

    def write(self, data: bytes) -> None:
        self._socket.send(b"\0" + data)

    def resize(self, width: int, height: int) -> None:
        self._socket.send(b"\4" + _size(width, height))

    def close_stdin(self) -> None:
        self._socket.send(bytes([255, 0]))

    def until(self, wanted: bytes, timeout: float = 20.0) -> bytes:
        while wanted not in self.read[1]:
            assert self._receive(timeout), self.read
        return self.read[1]

    def result(self, timeout: float = 20.0) -> tuple[int, bytes, bytes]:
        while self._receive(timeout):
            pass
        self.close()
        return exit_code(self.read[3]), self.read[1], self.read[2]

    def close(self) -> None:
        self._socket.close()

    def _receive(self, timeout: float) -> bool:
        message = self._socket.receive(timeout)
        if message and message[:1] != b"\xff":
            self.read[message[0]] += message[1:]
        return bool(message)


class SpdyCommand:
    """It opens the streams that the request asked for: stdout always, stderr unless there is a terminal."""

    def __init__(self, url: str, *, stdin: bool = False, stderr: bool = True, tty: bool = False) -> None:
        self._streams = SpdyStreams(DirectTransport(url, V4))
        kinds = ["error", *["stdin"] * stdin, "stdout", *["stderr"] * (stderr and not tty), *["resize"] * tty]
        self._ids = {name: self._streams.open(streamtype=name) for name in kinds}

    def write(self, data: bytes) -> None:
        self._streams.send(self._ids["stdin"], data)

    def resize(self, width: int, height: int) -> None:
        self._streams.send(self._ids["resize"], _size(width, height))

    def close_stdin(self) -> None:
        self._streams.send(self._ids["stdin"], b"", fin=True)

    def until(self, wanted: bytes, timeout: float = 20.0) -> bytes:
        out = self._ids["stdout"]
        self._streams.until(lambda: wanted in self._read("stdout") or out in self._streams.ended, timeout)
        assert wanted in self._read("stdout"), self._streams.received
        return self._read("stdout")

    def result(self, timeout: float = 20.0) -> tuple[int, bytes, bytes]:
        read = {self._ids[name] for name in ("error", "stdout", "stderr") if name in self._ids}
        self._streams.until(lambda: read <= self._streams.ended, timeout)
        self.close()
        return exit_code(self._read("error")), self._read("stdout"), self._read("stderr")

    def close(self) -> None:
        self._streams.close()

    def _read(self, name: str) -> bytes:
        return self._streams.received.get(self._ids.get(name, -1), b"")


def exit_code(report: bytes) -> int:
    """The exit code in a metav1.Status as JSON; -1 for a failure that is none."""
    status: dict[str, Any] = json.loads(report)
    if status.get("status") == "Success":
        return 0
    causes = status.get("details", {}).get("causes", [])
    return next((int(c["message"]) for c in causes if c.get("reason") == "ExitCode"), -1)


def _size(width: int, height: int) -> bytes:
    return json.dumps({"Width": width, "Height": height}).encode()
