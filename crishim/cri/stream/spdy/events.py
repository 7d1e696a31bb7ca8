"""The events of a SPDY/3.1 session (crishim/cri/stream/spdy/session.py)."""

from typing import NamedTuple

from crishim.cri.stream.spdy.headers import Headers

SESSION = 0  # the stream id of the session in WindowOpened


class StreamOpened(NamedTuple):
    stream: int
    headers: Headers


class StreamReplied(NamedTuple):
    stream: int
    headers: Headers


class HeadersReceived(NamedTuple):
    stream: int
    headers: Headers


class DataReceived(NamedTuple):
    """Bytes of a stream. Call consumed() when they are used, or the peer's window stays closed."""

    stream: int
    data: bytes


class StreamEnded(NamedTuple):
    """The peer will send nothing more on this stream."""

    stream: int


class StreamReset(NamedTuple):
    """The stream is gone: the peer reset it, or was reset for a protocol error."""

    stream: int
    status: int


class WindowOpened(NamedTuple):
    """More may be sent on this stream, or with SESSION on any."""

    stream: int


class WindowsChanged(NamedTuple):
    """The peer has set another initial window, and with it that of every stream."""


class PingAnswered(NamedTuple):
    id: int


class GoneAway(NamedTuple):
    """The peer takes no new streams; those up to last_stream were taken."""

    last_stream: int
    status: int


class SessionFailed(NamedTuple):
    """The peer broke the protocol; a GOAWAY is ready to be sent, and no more data is read. The last event."""

    reason: str


Event = (
    StreamOpened
    | StreamReplied
    | HeadersReceived
    | DataReceived
    | StreamEnded
    | StreamReset
    | WindowOpened
    | WindowsChanged
    | PingAnswered
    | GoneAway
    | SessionFailed
)
