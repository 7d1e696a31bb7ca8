"""The server end of a WebSocket: bytes in, fragments of messages out. RFC 6455.

    headers = accept(request, subprotocol)       # for the 101
    socket = WebSocket()
    for fragment in socket.receive_data(received): ...

The handshake is our own: the library refuses a subprotocol that is no HTTP token, and Kubernetes' tunnel is called
SPDY/3.1+portforward.k8s.io. Pings and closes are answered, and an invalid frame closes with the right code: each adds
bytes to send. Import this module late: the library takes 5 MB, and most nodes never see a WebSocket.
"""

import base64
import hashlib
from typing import NamedTuple

from websockets.frames import CloseCode, Opcode

from crishim.cri.stream.http_upgrade import BadRequest, UpgradeRequest
from crishim.cri.stream.websocket.frames import BadFrame, FrameReader, Part

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3


class Fragment(NamedTuple):
    payload: bytes
    first: bool  # of its message
    last: bool
    text: bool  # the message's kind; known at its first fragment


def accept(request: UpgradeRequest, subprotocol: str) -> list[tuple[str, str]]:
    """The headers that accept a client's handshake (section 4.2); subprotocol: "" for none. Raises BadRequest."""
    keys = request.values("Sec-WebSocket-Key")
    if request.method != "GET" or request.values("Sec-WebSocket-Version") != ["13"] or len(keys) != 1:
        raise BadRequest("a WebSocket handshake is a GET request with one key and version 13")
    try:
        nonce = base64.b64decode(keys[0], validate=True)
    except ValueError as error:  # binascii.Error is one, letters beyond ASCII are another
        raise BadRequest("the WebSocket key is not base64") from error
    if len(nonce) != 16:
        raise BadRequest("the WebSocket key has not 16 bytes")
    chosen = [("Sec-WebSocket-Protocol", subprotocol)] if subprotocol else []
    answer = base64.b64encode(hashlib.sha1(keys[0].encode() + MAGIC, usedforsecurity=False).digest()).decode()
    return [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", answer), *chosen]


class WebSocket:
    """An accepted WebSocket."""

    def __init__(self) -> None:
        self.is_open = True
        self._reader = FrameReader()
        self._text = False
        self._out = bytearray()

    def data_to_send(self) -> bytes:
        """Bytes to write now. Once is_open is false, the TCP connection is to be closed after them."""
        out = bytes(self._out)
        self._out.clear()
        return out

    @property
    def pending(self) -> int:
        """How many bytes wait for data_to_send()."""
        return len(self._out)

    def receive_data(self, data: bytes) -> list[Fragment]:
        """The fragments in the client's bytes. After a close or an invalid frame the rest is ignored."""
        self.feed(data)
        fragments: list[Fragment] = []
        while (found := self.next_fragments()) is not None:
            fragments += found
        return fragments

    def feed(self, data: bytes) -> None:
        """Take the client's bytes, for next_fragments()."""
        if self.is_open:
            self._reader.feed(data)

    def next_fragments(self) -> list[Fragment] | None:
        """The fragments of the next frame or part of it; None if more bytes are needed."""
        try:
            part = self._reader.next_part() if self.is_open else None
        except BadFrame as error:
            self._close(error.code, str(error))
            return []
        return None if part is None else self._receive(part)

    def _receive(self, part: Part) -> list[Fragment]:
        match part.opcode:
            case Opcode.PING:
                self._send(Opcode.PONG, part.payload)
            case Opcode.CLOSE:
                self._send(Opcode.CLOSE, part.payload[:2] if len(part.payload) != 1 else b"\x03\xea")  # 1002
                self.is_open = False
            case Opcode.TEXT | Opcode.BINARY | Opcode.CONT:
                first = part.first and part.opcode is not Opcode.CONT
                self._text = part.opcode is Opcode.TEXT if first else self._text
                return [Fragment(part.payload, first, part.last and part.fin, self._text)]
        return []

    def send(self, payload: bytes, *, text: bool = False) -> None:
        """Send one whole message; does nothing once the WebSocket is closing."""
        self._send(Opcode.TEXT if text else Opcode.BINARY, payload)

    def pong(self) -> None:
        """Send an unsolicited pong (RFC 6455, 5.5.3), to a client whose pings are not being read."""
        self._send(Opcode.PONG, b"")

    def close(self, *, broken: str = "") -> None:
        """Begin to close: normally, or with the reason why the client's messages are invalid."""
        self._close(CloseCode.PROTOCOL_ERROR if broken else CloseCode.NORMAL_CLOSURE, broken)

    def _close(self, code: CloseCode, reason: str) -> None:
        self._send(Opcode.CLOSE, code.to_bytes(2) + reason[:100].encode("ascii", "replace"))
        self.is_open = False

    def _send(self, opcode: Opcode, payload: bytes) -> None:
        """Add a frame, unmasked as a server's must be (section 5.1)."""
        if self.is_open:
            size = len(payload)
            length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2) if size < 1 << 16 else (
                b"\x7f" + size.to_bytes(8))  # fmt: skip
            self._out += bytes([0x80 | opcode]) + length + payload
