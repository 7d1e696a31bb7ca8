"""One server end of a WebSocket: bytes in, fragments of messages out. RFC 6455; framing by the websockets library.

    socket = WebSocket(head.raw, subprotocol)    # the request head as it was received
    transport.write(socket.data_to_send())       # 101
    for fragment in socket.receive_data(received): ...

Pings are answered, a close is answered, a broken frame closes with the right code: each leaves bytes to send. Import
this module late: the library costs 5 MB, and most nodes never see a WebSocket.
"""

from typing import NamedTuple

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from crishim.wire.http_upgrade import BadRequest

MAX_MESSAGE = 32 * 1024 * 1024  # bytes, as the reference server's; the library holds one frame at a time


class Fragment(NamedTuple):
    payload: bytes
    first: bool  # of its message
    last: bool
    text: bool  # the message's kind; known at its first fragment


class WebSocket:
    """The head is that of a GET request with the WebSocket headers; subprotocol "" means none is chosen."""

    def __init__(self, head: bytes, subprotocol: str) -> None:
        def select(_: ServerProtocol, offered: object) -> Subprotocol | None:
            return Subprotocol(subprotocol) if subprotocol else None

        self._protocol = ServerProtocol(select_subprotocol=select, max_size=MAX_MESSAGE)
        self._text = False
        self._protocol.receive_data(head)
        requests = [e for e in self._protocol.events_received() if isinstance(e, Request)]
        if not requests:
            raise BadRequest(f"no WebSocket handshake: {self._protocol.handshake_exc or 'incomplete'}")
        answer = self._protocol.accept(requests[0])
        if answer.status_code != 101:
            raise BadRequest(f"no WebSocket handshake: {self._protocol.handshake_exc}")
        self._protocol.send_response(answer)

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
