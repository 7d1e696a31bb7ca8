"""SPDY/3.1 frames: encoding and decoding. SPDY draft 3.1, section 2.

A control frame begins with a set bit, the version (3) and a type; a data frame with a stream id. Both then have eight
bits of flags and 24 of length. All numbers are big-endian.

A data frame may be 16 MiB long: the reader passes its bytes on as they come and never buffers a whole frame. Control
frames are buffered, and are refused above MAX_CONTROL.
"""

from enum import IntEnum, IntFlag
from struct import Struct
from typing import NamedTuple

from crishim.cri.stream.spdy.headers import HeaderCompressor, HeaderDecompressor, Headers

VERSION = 3
MAX_STREAM_ID = 0x7FFFFFFF
MAX_LENGTH = 0xFFFFFF
MAX_CONTROL = 16 * 1024  # bytes of a control frame we read

_HEAD = Struct(">II")
_U32 = Struct(">I")
_TWO = Struct(">II")


class FrameType(IntEnum):
    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


_KNOWN = frozenset(FrameType)


class Flag(IntFlag):
    NONE = 0
    FIN = 1
    UNIDIRECTIONAL = 2  # SYN_STREAM only


class ResetStatus(IntEnum):
    """Why a stream was reset (section 2.6.3)."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    UNSUPPORTED_VERSION = 4
    CANCEL = 5
    INTERNAL_ERROR = 6
    FLOW_CONTROL_ERROR = 7
    STREAM_IN_USE = 8
    STREAM_ALREADY_CLOSED = 9
    FRAME_TOO_LARGE = 11


class GoAwayStatus(IntEnum):
    OK = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


SETTING_INITIAL_WINDOW = 7


class SynStream(NamedTuple):
    stream: int
    headers: Headers
    fin: bool = False
    unidirectional: bool = False


class SynReply(NamedTuple):
    stream: int
    headers: Headers
    fin: bool = False


class HeadersFrame(NamedTuple):
    stream: int
    headers: Headers
    fin: bool = False


class RstStream(NamedTuple):
    stream: int
    status: int


class Settings(NamedTuple):
    values: dict[int, int]


class Ping(NamedTuple):
    id: int


class GoAway(NamedTuple):
    last_stream: int
    status: int


class WindowUpdate(NamedTuple):
    stream: int
    delta: int


class Data(NamedTuple):
    """Some bytes of a data frame. fin only on its last part; an empty frame is one part without bytes."""

    stream: int
    data: bytes
    fin: bool


class Unknown(NamedTuple):
    """A control frame of an unknown type: to be ignored (section 2.2.1). Only read, never written."""

    kind: int


Frame = SynStream | SynReply | HeadersFrame | RstStream | Settings | Ping | GoAway | WindowUpdate | Data | Unknown


class BadSpdyFrame(ValueError):
    """A frame that breaks the format: the bytes after it cannot be trusted."""


class FrameWriter:
    """Frames to bytes, in the order they must be sent (compression makes the order matter)."""

    def __init__(self) -> None:
        self._compressor = HeaderCompressor()

    def write(self, frame: Frame) -> bytes:
        match frame:
            case Data(stream, data, fin):
                return _HEAD.pack(stream, Flag(fin) << 24 | len(data)) + data
            case SynStream(stream, headers, fin, unidirectional):
                flags = Flag(fin) | (Flag.UNIDIRECTIONAL if unidirectional else Flag.NONE)
                head = _U32.pack(stream) + bytes(6)  # associated stream, priority, credential slot: none
                return _control(FrameType.SYN_STREAM, head + self._compressor.compress(headers), flags)
            case SynReply(stream, headers, fin):
                body = _U32.pack(stream) + self._compressor.compress(headers)
                return _control(FrameType.SYN_REPLY, body, Flag(fin))
            case HeadersFrame(stream, headers, fin):
                body = _U32.pack(stream) + self._compressor.compress(headers)
                return _control(FrameType.HEADERS, body, Flag(fin))
            case RstStream(stream, status):
                return _control(FrameType.RST_STREAM, _TWO.pack(stream, status))
            case Settings(values):
                pairs = b"".join(_TWO.pack(key, value) for key, value in values.items())
                return _control(FrameType.SETTINGS, _U32.pack(len(values)) + pairs)
            case Ping(number):
                return _control(FrameType.PING, _U32.pack(number))
            case GoAway(last, status):
                return _control(FrameType.GOAWAY, _TWO.pack(last, status))
            case WindowUpdate(stream, delta):
                return _control(FrameType.WINDOW_UPDATE, _TWO.pack(stream, delta))
            case Unknown(kind):
                raise ValueError(f"frames of type {kind} are not written")


def _control(kind: FrameType, body: bytes, flags: int = 0) -> bytes:
    return _HEAD.pack(0x80000000 | VERSION << 16 | kind, flags << 24 | len(body)) + body


class SpdyFrameReader:
    """Bytes to frames; the bytes may come in pieces of any size."""

    def __init__(self) -> None:
        self._decompressor = HeaderDecompressor()
        self._buffer = bytearray()
        self._data: tuple[int, int, bool] | None = None  # the open data frame: stream, bytes missing, fin

    def receive_data(self, data: bytes) -> None:
        self._buffer += data

    def next_frame(self) -> Frame | None:
        """The next frame or part of a data frame; None if bytes are missing. Raises BadSpdyFrame, BadHeaderBlock."""
        if self._data is not None:
            return self._next_part(*self._data)
        if len(self._buffer) < 8:
            return None
        first, second = _HEAD.unpack_from(self._buffer)
        flags, length = second >> 24, second & MAX_LENGTH
        if not first & 0x80000000:
            self._start_data(first, flags, length)
            return self._next_part(first, length, bool(flags & Flag.FIN))
        if length > MAX_CONTROL:
            raise BadSpdyFrame(f"a control frame of {length} bytes")
        if len(self._buffer) < 8 + length:
            return None
        body = bytes(self._buffer[8 : 8 + length])
        del self._buffer[: 8 + length]
        if first >> 16 & 0x7FFF != VERSION:
            raise BadSpdyFrame(f"version {first >> 16 & 0x7FFF} of SPDY, not {VERSION}")
        kind = first & 0xFFFF
        return self._control(FrameType(kind), Flag(flags & 3), body) if kind in _KNOWN else Unknown(kind)

    def _start_data(self, stream: int, flags: int, length: int) -> None:
        if not stream:
            raise BadSpdyFrame("a data frame for stream 0")
        del self._buffer[:8]
        self._data = stream, length, bool(flags & Flag.FIN)

    def _next_part(self, stream: int, missing: int, fin: bool) -> Data | None:
        if missing and not self._buffer:
            return None
        part = bytes(self._buffer[:missing])
        del self._buffer[:missing]
        left = missing - len(part)
        self._data = (stream, left, fin) if left else None
        return Data(stream, part, fin and not left)

    def _control(self, kind: FrameType, flags: Flag, body: bytes) -> Frame:
        fin = bool(flags & Flag.FIN)
        match kind:
            case FrameType.SYN_STREAM:
                stream = _stream_id(body, 10)
                headers = self._decompressor.decompress(body[10:])
                return SynStream(stream, headers, fin, bool(flags & Flag.UNIDIRECTIONAL))
            case FrameType.SYN_REPLY:
                return SynReply(_stream_id(body, 4), self._decompressor.decompress(body[4:]), fin)
            case FrameType.HEADERS:
                return HeadersFrame(_stream_id(body, 4), self._decompressor.decompress(body[4:]), fin)
            case FrameType.SETTINGS:
                return _settings(body)
            case FrameType.PING:
                return Ping(int.from_bytes(_exactly(body, 4)))
            case FrameType.RST_STREAM:
                return RstStream(_stream_id(_exactly(body, 8), 8), int.from_bytes(body[4:]))
            case FrameType.GOAWAY:
                return GoAway(*_TWO.unpack(_exactly(body, 8)))
            case FrameType.WINDOW_UPDATE:
                stream, delta = _TWO.unpack(_exactly(body, 8))
                return WindowUpdate(stream & MAX_STREAM_ID, delta & 0x7FFFFFFF)


def _exactly(body: bytes, length: int) -> bytes:
    if len(body) != length:
        raise BadSpdyFrame(f"a control frame of {len(body)} bytes where {length} belong")
    return body


def _stream_id(body: bytes, least: int) -> int:
    if len(body) < least:
        raise BadSpdyFrame(f"a control frame of {len(body)} bytes, too short for its type")
    stream = int.from_bytes(body[:4]) & MAX_STREAM_ID
    if not stream:
        raise BadSpdyFrame("a control frame for stream 0")
    return stream


def _settings(body: bytes) -> Settings:
    if len(body) < 4 or len(body) != 4 + 8 * int.from_bytes(body[:4]):
        raise BadSpdyFrame(f"a SETTINGS frame of {len(body)} bytes does not hold what it claims")
    pairs = (_TWO.unpack_from(body, at) for at in range(4, len(body), 8))
    return Settings({key & 0xFFFFFF: value for key, value in pairs})  # the upper byte is flags
