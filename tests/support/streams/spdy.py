"""A SPDY/3.1 client (blocking), over the connection itself or through a WebSocket, as kubectl does it now.

It is our own machine of SPDY in the other role; crishim/cri/stream/spdy/session.py is tested against the peers' bytes
elsewhere.
"""

import time
from collections.abc import Callable
from typing import Protocol

from crishim.cri.stream.spdy.events import DataReceived, SessionFailed, StreamEnded, StreamReplied, StreamReset
from crishim.cri.stream.spdy.session import SpdySession
from crishim.cri.stream.spdy.state import FlowControl, Role
from tests.support.streams.upgrade import upgrade
from tests.support.streams.websocket import WebSocket


class Transport(Protocol):
    """What takes the session's bytes there and back; receive() gives b"" at the end."""

    def send(self, data: bytes) -> None: ...

    def receive(self) -> bytes: ...

    def close(self) -> None: ...


class DirectTransport:
    """The connection itself, after the upgrade."""

    def __init__(self, url: str, version: str) -> None:
        self._socket = upgrade(url, "Upgrade: SPDY/3.1", f"X-Stream-Protocol-Version: {version}")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> bytes:
        return self._socket.recv(65536)

    def close(self) -> None:
        self._socket.close()


class TunnelTransport(WebSocket):
    """Binary messages of a WebSocket."""

    def __init__(self, url: str, version: str) -> None:
        super().__init__(url, f"SPDY/3.1+{version}")


class SpdyStreams:
    """A session: what its streams received, and which have ended."""

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
