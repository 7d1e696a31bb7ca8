"""One end of an NRI connection: two ttrpc connections over one trunk; sans-IO, bytes in and events out.

The runtime calls the plugin's service on connection 1 and serves its own on connection 2; a plugin does the reverse.
The driver uses the runtime's end, stub.py the plugin's.
"""

from collections.abc import Iterator
from enum import Enum

from crishim.nri.mux import PLUGIN_SERVICE, RUNTIME_SERVICE, BadTrunk, Demultiplexer, frames
from crishim.nri.ttrpc import BadMessage, Client, Code, Request, Response, Server, TooLarge

__all__ = ["BadMessage", "BadTrunk", "Code", "Peer", "Request", "Response", "Session", "TooLarge"]


class Peer(Enum):
    RUNTIME = PLUGIN_SERVICE  # the connection it calls on
    PLUGIN = RUNTIME_SERVICE


class Session:
    """Bytes in by receive(), bytes out by data_to_send(). After BadTrunk or BadMessage close the connection."""

    def __init__(self, end: Peer) -> None:
        self._calls_on = end.value
        self._serves_on = PLUGIN_SERVICE + RUNTIME_SERVICE - end.value
        self._trunk = Demultiplexer()
        self._client = Client()
        self._server = Server()
        self._out = bytearray()

    @property
    def ignored(self) -> int:
        """How many frames of unknown connections, unexpected responses and messages of unknown types were received."""
        return self._trunk.dropped + self._client.ignored + self._server.ignored

    @property
    def waiting(self) -> int:
        """How many of the peer's calls have no answer yet."""
        return len(self._server.waiting)

    def call(self, service: str, method: str, payload: bytes, timeout: float = 0.0) -> int:
        """Begin a call and return its stream. timeout: seconds, sent to the peer. Raises TooLarge."""
        stream, message = self._client.request(service, method, payload, timeout)
        self._out += frames(self._calls_on, message)
        return stream

    def forget(self, stream: int) -> None:
        """Give up a call."""
        self._client.forget(stream)

    def respond(self, stream: int, payload: bytes) -> None:
        """Answer a call of the peer."""
        self._out += frames(self._serves_on, self._server.respond(stream, payload))

    def fail(self, stream: int, code: Code, text: str) -> None:
        """Answer a call of the peer with an error."""
        self._out += frames(self._serves_on, self._server.fail(stream, code, text))

    def receive(self, data: bytes) -> Iterator[Request | Response]:
        """The peer's requests and responses; consume all before the next call. Raises BadTrunk, BadMessage."""
        for part in self._trunk.receive(data):
            if part.connection == self._calls_on:
                yield from self._client.receive(part.data)
                continue
            for event in self._server.receive(part.data):
                if isinstance(event, bytes):
                    self._out += frames(self._serves_on, event)
                else:
                    yield event

    def data_to_send(self) -> bytes:
        """The bytes to write to the peer now, each once."""
        out = bytes(self._out)
        self._out.clear()
        return out
