"""NRI's multiplexer: numbered connections over one unix stream, the trunk.

A frame is eight bytes, connection and payload length as big-endian u32, and the payload. Connections are not opened or
closed: there are two fixed ones, and a frame for any other is dropped.

How a message is split matters to peers written in Go. Their multiplexer passes a whole frame to one read, whose buffer
has 4096 bytes, and fails if it does not fit: a message's first frame must not be larger. The rest should be one frame:
more than 256 queued frames end the trunk. No frame may have bytes of two messages. (github.com/containerd/nri,
pkg/net/multiplex; how Go peers read was measured.)
"""

from struct import Struct
from typing import NamedTuple

PLUGIN_SERVICE = 1  # the plugin serves, the runtime calls
RUNTIME_SERVICE = 2
MAX_PAYLOAD = (4 << 20) + 10  # bytes: a ttrpc message and its header
FIRST = 4096  # bytes of a message's first frame

_HEAD = Struct(">II")


class BadTrunk(ValueError):
    """A frame that breaks the format: the bytes after it cannot be trusted."""


class TrunkData(NamedTuple):
    """Some bytes of a connection's stream."""

    connection: int
    data: bytes


def frames(connection: int, message: bytes) -> bytes:
    """The frames of one whole message, at most MAX_PAYLOAD bytes."""
    if len(message) > MAX_PAYLOAD:
        raise ValueError(f"a message of {len(message)} bytes")
    pieces = (message[:FIRST], message[FIRST:]) if len(message) > FIRST else (message,)
    return b"".join(_HEAD.pack(connection, len(piece)) + piece for piece in pieces)


class Demultiplexer:
    """The receiving half: bytes of the trunk, in pieces of any size, to parts of connections. Buffers no payload."""

    def __init__(self) -> None:
        self._head = b""  # of a frame, as far as received
        self._connection = 0
        self._missing = 0  # bytes of the open frame
        self.dropped = 0  # frames for unknown connections, and empty ones

    def receive(self, data: bytes) -> list[TrunkData]:
        """Decode received bytes. Raises BadTrunk for a frame longer than MAX_PAYLOAD."""
        parts, view, at = [], memoryview(data), 0
        while at < len(view):
            if not self._missing:
                at = self._read_head(view, at)
                continue
            piece = view[at : at + self._missing]
            at += len(piece)
            self._missing -= len(piece)
            if self._connection in (PLUGIN_SERVICE, RUNTIME_SERVICE):
                parts.append(TrunkData(self._connection, bytes(piece)))
        return parts

    def _read_head(self, view: memoryview, at: int) -> int:
        """Read a frame's head, as far as received; returns where its payload begins."""
        end = at + _HEAD.size - len(self._head)
        self._head += bytes(view[at:end])
        if len(self._head) == _HEAD.size:
            self._connection, self._missing = _HEAD.unpack(self._head)
            self._head = b""
            if self._missing > MAX_PAYLOAD:
                raise BadTrunk(f"a frame of {self._missing} bytes, above the limit of {MAX_PAYLOAD}")
            if not self._missing or self._connection not in (PLUGIN_SERVICE, RUNTIME_SERVICE):
                self.dropped += 1
        return min(end, len(view))
