"""One server end of a WebSocket: bytes in, fragments of messages out. RFC 6455; framing by the websockets library.

    headers = accept(request, subprotocol)       # for the 101
    socket = WebSocket()
    for fragment in socket.receive_data(received): ...

The handshake is our own: the library refuses a subprotocol that is no HTTP token, and Kubernetes' tunnel is called
SPDY/3.1+portforward.k8s.io. Pings are answered, a close is answered, a broken frame closes with the right code: each
leaves bytes to send. Import this module late: the library costs 5 MB, and most nodes never see a WebSocket.
"""

import base64
import binascii
import logging
from typing import NamedTuple

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.utils import accept_key

from crishim.wire.http_upgrade import BadRequest, Request

_silent = logging.Logger("websocket")  # the library would log payloads
_silent.disabled = True

MAX_MESSAGE = 32 * 1024 * 1024  # bytes, as the reference server's; the library holds one frame at a time


class Fragment(NamedTuple):
    payload: bytes
    first: bool  # of its message
    last: bool
    text: bool  # the message's kind; known at its first fragment


def accept(request: Request, subprotocol: str) -> list[tuple[str, str]]:
    """The headers that accept a client's handshake (section 4.2); subprotocol "" means none. BadRequest."""
    keys = request.values("Sec-WebSocket-Key")
    if request.method != "GET" or request.values("Sec-WebSocket-Version") != ["13"] or len(keys) != 1:
        raise BadRequest("a WebSocket handshake is a GET request with one key and version 13")
    try:
        nonce = base64.b64decode(keys[0], validate=True)
    except binascii.Error as error:
        raise BadRequest("the WebSocket key is not base64") from error
    if len(nonce) != 16:
        raise BadRequest("the WebSocket key has not 16 bytes")
    chosen = [("Sec-WebSocket-Protocol", subprotocol)] if subprotocol else []
    return [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept_key(keys[0])), *chosen]


class WebSocket:
    """An accepted WebSocket."""

    def __init__(self) -> None:
        self._protocol = ServerProtocol(state=State.OPEN, max_size=MAX_MESSAGE, logger=_silent)
        self._text = False

    @property
    def is_open(self) -> bool:
        return self._protocol.state is State.OPEN

    def data_to_send(self) -> bytes:
        """Bytes to write now. Once is_open is false, the TCP connection is to be closed after them."""
        return b"".join(self._protocol.data_to_send())

    def receive_data(self, data: bytes) -> list[Fragment]:
        self._protocol.receive_data(data)
        fragments = []
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                first = event.opcode is not Opcode.CONT
                self._text = event.opcode is Opcode.TEXT if first else self._text
                fragments.append(Fragment(bytes(event.data), first, event.fin, self._text))
        return fragments

    def send(self, payload: bytes, *, text: bool = False) -> None:
        """One whole message. Nothing is sent once the WebSocket is closing."""
        if self.is_open:
            (self._protocol.send_text if text else self._protocol.send_binary)(payload)

    def pong(self) -> None:
        """A sign of life nobody asked for (RFC 6455, 5.5.3), for a client whose pings are not being read."""
        if self.is_open:
            self._protocol.send_pong(b"")

    def close(self, *, broken: str = "") -> None:
        """Begin to close: normally, or with the reason why the peer's messages cannot be understood."""
        if self.is_open:
            code = CloseCode.PROTOCOL_ERROR if broken else CloseCode.NORMAL_CLOSURE
            self._protocol.send_close(code, broken[:100])
