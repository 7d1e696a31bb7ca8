"""The same over SPDY/3.1, as older clients do it, and port-forward through SPDY in a WebSocket, as kubectl does it now.

A stream of the session carries what it says in its header `streamtype`: exec and attach have error, stdin, stdout,
stderr, resize; port-forward has error and data for each connection. The client is our own machine of SPDY in the
other role; crishim/cri/stream/spdy/session.py is tested against the peers' bytes elsewhere.
"""

import json
import time
from collections.abc import Callable
from typing import Protocol

from crishim.cri.stream.spdy.events import DataReceived, SessionFailed, StreamEnded, StreamReplied, StreamReset
from crishim.cri.stream.spdy.session import SpdySession
from crishim.cri.stream.spdy.state import FlowControl, Role
from hack.kubelet.streams import Upgrade, WebSocket, exit_code, path_of, upgraded

FORWARD = "portforward.k8s.io"


class Transport(Protocol):
    """What takes the session's bytes there and back; receive() gives b"" at the end."""

    def send(self, data: bytes) -> None: ...

    def receive(self) -> bytes: ...

    def close(self) -> None: ...


class Direct:
    """The connection itself, after the upgrade."""

    def __init__(self, path: str, version: str, upgrade: Upgrade = upgraded) -> None:
        headers = ["Upgrade: SPDY/3.1", f"X-Stream-Protocol-Version: {version}"]
        self._socket, self._surplus = upgrade("POST", path, headers)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> bytes:
        surplus, self._surplus = self._surplus, b""
        return surplus or self._socket.recv(65536)

    def close(self) -> None:
        self._socket.close()


class Tunnel(WebSocket):
    """Binary messages of a WebSocket."""

    def __init__(self, path: str, version: str, upgrade: Upgrade = upgraded) -> None:
        super().__init__(path, f"SPDY/3.1+{version}", upgrade)


class Streams:
    """A SPDY session: what its streams received, and which have ended."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._session = SpdySession(Role.CLIENT, flow_control=FlowControl.LEARNED)
        self.received: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self._replied: set[int] = set()

    def open(self, **headers: str) -> int:
        stream = self._session.open_stream({name.lower(): value for name, value in headers.items()})
        self.received[stream] = b""
        self._transport.send(self._session.data_to_send())
        self.until(lambda: stream in self._replied | self.ended)
        return stream

    def send(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        """Send on a stream; nothing if the server has reset it."""
        if self._session.is_sending(stream):
            self._session.send_data(stream, data, fin=fin)
        self._transport.send(self._session.data_to_send())

    def until(self, holds: Callable[[], bool], timeout: float = 20.0) -> None:
        deadline = time.monotonic() + timeout
        while not holds():
            assert time.monotonic() < deadline, f"not within {timeout:g} s: {self.received}"
            data = self._transport.receive()
            if not data:
                self.ended |= set(self.received)
                return
            for event in self._session.receive_data(data):
                self._note(event)
            self._transport.send(self._session.data_to_send())

    def close(self) -> None:
        self._transport.close()

    def _note(self, event: object) -> None:
        match event:
            case DataReceived(stream, data):
                self.received[stream] += data
                self._session.consumed(stream, len(data))
            case StreamEnded(stream) | StreamReset(stream, _):
                self.ended.add(stream)
            case StreamReplied(stream):
                self._replied.add(stream)
            case SessionFailed(reason):
                raise AssertionError(f"the server broke SPDY: {reason}")


class Remote:
    """One exec or attach over SPDY; as that of hack/kubelet/streams.py."""

    def __init__(self, kind: str, pod: str, container: str, *command: str, stdin: bool = False, tty: bool = False):
        query = [("command", word) for word in command] + [("output", "1")]
        query += [("input", "1")] * stdin + [("tty", "1") if tty else ("error", "1")]
        self._streams = Streams(Direct(path_of(kind, pod, container, query), "v4.channel.k8s.io"))
        kinds = ["error", *["stdin"] * stdin, "stdout", "resize" if tty else "stderr"]
        self._ids = {name: self._streams.open(streamtype=name) for name in kinds}

    def write(self, data: bytes, channel: int = 0) -> None:
        self._streams.send(self._ids["resize" if channel == 4 else "stdin"], data)

    def close_stdin(self) -> None:
        self._streams.send(self._ids["stdin"], b"", fin=True)

    def until(self, wanted: bytes, timeout: float = 20.0) -> bytes:
        """Read until standard output has these bytes."""
        self._streams.until(lambda: wanted in self._read("stdout"), timeout)
        return self._read("stdout")

    def result(self, timeout: float = 20.0) -> tuple[int, bytes, bytes]:
        """Read to the end: exit code, standard output, standard error."""
        read = {self._ids[name] for name in ("error", "stdout", "stderr") if name in self._ids}
        self._streams.until(lambda: read <= self._streams.ended, timeout)
        self.close()
        return exit_code(json.loads(self._read("error"))), self._read("stdout"), self._read("stderr")

    def close(self) -> None:
        self._streams.close()

    def _read(self, name: str) -> bytes:
        return self._streams.received.get(self._ids.get(name, -1), b"")


def forwarded(pod: str, port: int, data: list[bytes], transport: type[Direct] | type[Tunnel]) -> list[bytes]:
    """Send each of data on a connection of its own to a port of a pod, all over one session; the answers."""
    # A kubelet that does not know the tunnel takes it for the older WebSocket form, which names the port here.
    streams = Streams(transport(path_of("portForward", pod, "", [("port", str(port))]), FORWARD))
    try:
        opened = [_connection(streams, {"port": str(port), "requestid": str(n)}, body) for n, body in enumerate(data)]
        streams.until(lambda: {stream for pair in opened for stream in pair} <= streams.ended)
    finally:
        streams.close()
    assert not any(streams.received[error] for error, _ in opened), streams.received
    return [streams.received[answer] for _, answer in opened]


def _connection(streams: Streams, headers: dict[str, str], body: bytes) -> tuple[int, int]:
    """The streams of errors and of data of one forwarded connection, all of body sent."""
    error = streams.open(streamtype="error", **headers)
    streams.send(error, b"", fin=True)
    answer = streams.open(streamtype="data", **headers)
    streams.send(answer, body, fin=True)
    return error, answer
