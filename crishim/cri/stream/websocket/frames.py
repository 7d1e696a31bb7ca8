"""Read a client's WebSocket frames in parts, so that no frame is buffered whole. RFC 6455, section 5.

The websockets library returns whole frames, of up to 32 MiB each. Only its constants and its masking, written in C, are
used here.
"""

from struct import Struct
from typing import NamedTuple

from websockets.frames import CloseCode, Opcode
from websockets.frames import apply_mask as apply_mask  # type: ignore[attr-defined]  # its C form, if there is one

MAX_FRAME = 32 * 1024 * 1024  # bytes, as the reference server's
MAX_CONTROL = 125  # bytes (section 5.5)
CONTROL = frozenset({Opcode.PING, Opcode.PONG, Opcode.CLOSE})
_KNOWN = frozenset(int(opcode) for opcode in Opcode)

_U16, _U64 = Struct(">H"), Struct(">Q")


class BadFrame(ValueError):
    """A frame that breaks the protocol; nothing after it can be parsed."""

    def __init__(self, text: str, code: CloseCode = CloseCode.PROTOCOL_ERROR) -> None:
        super().__init__(text)
        self.code = code


class Part(NamedTuple):
    """Some bytes of a frame; a control frame is one part."""

    opcode: Opcode
    payload: bytes
    first: bool  # of its frame
    last: bool  # of its frame
    fin: bool  # the frame is its message's last


class FrameReader:
    """Bytes to parts of frames; the bytes may come in pieces of any size."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._opcode: Opcode | None = None  # of the current frame
        self._fin = False
        self._first = False
        self._left = 0  # bytes of its payload
        self._mask = b""
        self._continues = False  # the next data frame must be a continuation

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next_part(self) -> Part | None:
        """The next part, None if more bytes are needed. Raises BadFrame."""
        if self._opcode is None and not self._read_head():
            return None
        assert self._opcode is not None
        if self._left and (not self._buffer or (self._opcode in CONTROL and len(self._buffer) < self._left)):
            return None
        payload = bytes(self._buffer[: self._left])
        del self._buffer[: self._left]
        part = Part(self._opcode, apply_mask(payload, self._mask), self._first, len(payload) == self._left, self._fin)
        self._first = False
        self._left -= len(payload)
        if part.last:
            self._opcode = None
        else:
            offset = len(payload) % 4
            self._mask = self._mask[offset:] + self._mask[:offset]
        return part

    def _read_head(self) -> bool:
        """Read a frame's header (section 5.2). False if more bytes are needed."""
        if len(self._buffer) < 2:
            return False
        first, second = self._buffer[0], self._buffer[1]
        extended = {126: 2, 127: 8}.get(second & 0x7F, 0)
        opcode, fin = self._check(first, second)
        if len(self._buffer) < 6 + extended:
            return False
        length = second & 0x7F
        if extended:
            length = int((_U16 if extended == 2 else _U64).unpack_from(self._buffer, 2)[0])
        if length > MAX_FRAME:
            raise BadFrame(f"a frame of {length} bytes", CloseCode.MESSAGE_TOO_BIG)
        self._mask = bytes(self._buffer[2 + extended : 6 + extended])
        del self._buffer[: 6 + extended]
        self._opcode, self._fin, self._left, self._first = opcode, fin, length, True
        if opcode not in CONTROL:
            self._continues = not fin
        return True

    def _check(self, first: int, second: int) -> tuple[Opcode, bool]:
        """Opcode and FIN of a frame's first two bytes. Raises BadFrame."""
        if first & 0x70 or first & 0x0F not in _KNOWN:
            raise BadFrame(f"a frame that begins with {first:#04x}")
        if not second & 0x80:
            raise BadFrame("a frame without a mask")
        opcode, fin = Opcode(first & 0x0F), bool(first & 0x80)
        if opcode in CONTROL:
            if not fin or second & 0x7F > MAX_CONTROL:
                raise BadFrame("a control frame that is too long or in fragments")
        elif (opcode is Opcode.CONT) != self._continues:
            raise BadFrame("a message that begins within another, or goes on without having begun")
        return opcode, fin
