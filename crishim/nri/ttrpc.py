"""ttrpc, sans-IO: the messages of one connection, and the state of both ends. containerd/ttrpc, PROTOCOL.md.

A message is a head of ten bytes, big-endian: length u32 (of the body), stream u32, type u8, flags u8. Type 1 is a
request, which opens the stream, 2 its response, which ends it, 3 data of streaming calls, which NRI does not use. The
client chooses odd, ascending stream numbers. There is no handshake and no cancellation: a client that gives up a call
forgets its stream, and a late response is dropped.
"""

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from google.protobuf.message import DecodeError

from crishim.pb import ttrpc_pb2

MAX_BODY = 4 << 20  # bytes
MAX_STREAM = 0xFFFFFFFF
MAX_TEXT = 4096  # characters of a peer's error text that are kept
REQUEST, RESPONSE = 1, 2

_HEAD = Struct(">IIBB")


class Code(IntEnum):
    """gRPC's status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


class BadMessage(ValueError):
    """A message that breaks the format: nothing more can be read from this connection."""


class TooLarge(ValueError):
    """A message that may not be sent: its body is above MAX_BODY."""


class TtrpcMessage(NamedTuple):
    stream: int
    kind: int
    flags: int
    body: bytes


class Request(NamedTuple):
    stream: int
    service: str
    method: str
    payload: bytes
    timeout: float  # seconds from its arrival, 0.0: none


class Response(NamedTuple):
    """code is OK and payload the answer, or else text the error."""

    stream: int
    code: int
    text: str
    payload: bytes


def encode(message: TtrpcMessage) -> bytes:
    if len(message.body) > MAX_BODY:
        raise TooLarge(f"a message of {len(message.body)} bytes, above the limit of {MAX_BODY}")
    return _HEAD.pack(len(message.body), message.stream, message.kind, message.flags) + message.body


class MessageReader:
    """Bytes, in pieces of any size, to messages. Buffers at most one message."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, data: bytes) -> Iterator[TtrpcMessage]:
        """Raises BadMessage for a body above MAX_BODY. Consume all messages before the next call."""
        self._buffer += data
        at = 0
        try:
            while len(self._buffer) - at >= _HEAD.size:
                length, stream, kind, flags = _HEAD.unpack_from(self._buffer, at)
                if length > MAX_BODY:
                    raise BadMessage(f"a message of {length} bytes, above the limit of {MAX_BODY}")
                if len(self._buffer) - at < _HEAD.size + length:
                    break
                begin = at + _HEAD.size
                at = begin + length
                yield TtrpcMessage(stream, kind, flags, bytes(self._buffer[begin:at]))
        finally:
            del self._buffer[:at]


class Client:
    """The calling end."""

    def __init__(self) -> None:
        self._next = 1
        self._open: set[int] = set()
        self._reader = MessageReader()
        self.ignored = 0  # messages that are no response to an open call

    def request(self, service: str, method: str, payload: bytes, timeout: float = 0.0) -> tuple[int, bytes]:
        """The new call's stream, and the message to send. timeout: seconds. Raises TooLarge; no call is open then."""
        if self._next > MAX_STREAM:
            raise BadMessage("all streams of the connection are used up")
        stream = self._next
        body = ttrpc_pb2.Request(service=service, method=method, payload=payload, timeout_nano=int(timeout * 1e9))
        message = encode(TtrpcMessage(stream, REQUEST, 0, body.SerializeToString()))
        self._next += 2
        self._open.add(stream)
        return stream, message

    def forget(self, stream: int) -> None:
        """Give up a call: its response, if one comes, is dropped."""
        self._open.discard(stream)

    def receive(self, data: bytes) -> Iterator[Response]:
        """Responses to open calls, each once. Raises BadMessage."""
        for message in self._reader.receive(data):
            if message.kind != RESPONSE or message.stream not in self._open:
                self.ignored += 1
                continue
            self._open.discard(message.stream)
            yield _response(message)


class Server:
    """The serving end: unary calls, each to be answered once by respond() or fail()."""

    def __init__(self) -> None:
        self._last = 0
        self._reader = MessageReader()
        self.ignored = 0  # messages that are not requests
        self.waiting: set[int] = set()  # streams that have no answer yet

    def receive(self, data: bytes) -> Iterator[Request | bytes]:
        """Requests; and as bytes, messages to send at once, which refuse invalid requests. Raises BadMessage."""
        for message in self._reader.receive(data):
            if message.kind != REQUEST:
                self.ignored += 1
            elif message.stream % 2 == 0 or message.stream <= self._last:
                yield _failure(message.stream, Code.INVALID_ARGUMENT, f"stream {message.stream} cannot be opened")
            elif message.flags:
                self._last = message.stream
                yield _failure(message.stream, Code.UNIMPLEMENTED, "streaming calls are not served")
            else:
                self._last = message.stream
                self.waiting.add(message.stream)
                yield _request(message)

    def respond(self, stream: int, payload: bytes) -> bytes:
        """The message that answers a call; an error instead if the answer is too large."""
        self.waiting.discard(stream)
        body = ttrpc_pb2.Response(payload=payload).SerializeToString()
        if len(body) > MAX_BODY:
            return _failure(stream, Code.RESOURCE_EXHAUSTED, f"an answer of {len(body)} bytes")
        return encode(TtrpcMessage(stream, RESPONSE, 0, body))

    def fail(self, stream: int, code: Code, text: str) -> bytes:
        self.waiting.discard(stream)
        return _failure(stream, code, text)


def _failure(stream: int, code: Code, text: str) -> bytes:
    status = ttrpc_pb2.Status(code=code, message=text)
    return encode(TtrpcMessage(stream, RESPONSE, 0, ttrpc_pb2.Response(status=status).SerializeToString()))


def _request(message: TtrpcMessage) -> Request:
    try:
        body = ttrpc_pb2.Request.FromString(message.body)
    except DecodeError as error:
        raise BadMessage(f"a request that is no ttrpc.Request: {error}") from error
    return Request(message.stream, body.service, body.method, body.payload, max(body.timeout_nano, 0) / 1e9)


def _response(message: TtrpcMessage) -> Response:
    try:
        body = ttrpc_pb2.Response.FromString(message.body)
    except DecodeError as error:
        raise BadMessage(f"a response that is no ttrpc.Response: {error}") from error
    return Response(message.stream, body.status.code, body.status.message[:MAX_TEXT], body.payload)
