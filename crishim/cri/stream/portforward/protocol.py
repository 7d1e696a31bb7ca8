"""Port forwarding over SPDY: each forwarded connection is a pair of streams the client opens, data and error.

Source: k8s.io/apimachinery/pkg/util/portforward and the reference server, k8s.io/cri-streaming.

Both streams of a pair carry the headers port and streamType ("data" or "error"), and requestID, which is the same for
both. For old clients without requestID the error stream is assumed to come first, with the data stream's id next.
"""

from collections.abc import Mapping
from typing import NamedTuple

PROTOCOL = "portforward.k8s.io"
TUNNEL = f"SPDY/3.1+{PROTOCOL}"  # WebSocket subprotocol: binary messages are the bytes of a SPDY session

DATA, ERROR = "data", "error"
MAX_REQUEST = 128  # characters of a request id; clients use a counter


class BadStream(ValueError):
    """A stream that belongs to no pair; it is refused."""


class Pair(NamedTuple):
    """The streams of one forwarded connection."""

    port: int
    data: int
    error: int


class Pairing:
    """Pairs streams as they are opened."""

    def __init__(self) -> None:
        self._half: dict[str, tuple[str, int, int]] = {}  # by request id: type, stream, port
        self._request: dict[int, str] = {}  # by stream: the request id of a half

    def stream_opened(self, stream: int, headers: Mapping[str, str]) -> Pair | None:
        """The pair this stream completes, None for its first stream. Raises BadStream for a stream of no pair."""
        kind, port = headers.get("streamtype"), parse_port(headers.get("port", ""))
        if kind not in (DATA, ERROR):
            raise BadStream(f"stream type {kind!r} is neither data nor error")
        request = headers.get("requestid") or f"#{stream if kind == ERROR else stream - 2}"
        if len(request) > MAX_REQUEST:
            raise BadStream(f"a request id of {len(request)} characters")
        half = self._half.get(request)
        if half is None:
            self._half[request] = kind, stream, port
            self._request[stream] = request
            return None
        if half[0] == kind:
            raise BadStream(f"request {request} has a {kind} stream already")
        self.stream_gone(half[1])
        data, error = (stream, half[1]) if kind == DATA else (half[1], stream)
        return Pair(port if kind == DATA else half[2], data, error)

    def stream_gone(self, stream: int) -> None:
        """Forget a stream that ended before its pair was complete."""
        request = self._request.pop(stream, None)
        if request is not None:
            del self._half[request]

    def waits(self, stream: int) -> bool:
        """Whether this stream's pair is not complete yet."""
        return stream in self._request


def parse_port(text: str) -> int:
    """Parse a TCP port in decimal. Raises BadStream."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= 0xFFFF):
        raise BadStream(f"{text!r} is no port")
    return int(text)
