"""What a streaming client sends: the HTTP head, SPDY and WebSocket frames, the channels in them.

The bytes come in pieces, cut where the input says. What a byte may cost is bounded: see tests/fuzz/work.py.
"""

from crishim.cri.stream.http_upgrade import BadRequest, RequestHead, error_response
from crishim.cri.stream.portforward.protocol import BadStream, Pairing
from crishim.cri.stream.remotecommand.protocol import ResizeDecoder
from crishim.cri.stream.spdy.events import DataReceived, SessionFailed, StreamOpened, StreamReset
from crishim.cri.stream.spdy.outgoing import LocalError
from crishim.cri.stream.spdy.session import SpdySession
from crishim.cri.stream.spdy.state import FlowControl, Role
from crishim.cri.stream.websocket.channel_codec import BadChannelMessage, ChannelCodec
from crishim.cri.stream.websocket.protocol import WebSocket, accept

MOST_OUT = 64  # bytes an input byte may have answered, and a constant
CONSTANT = 1 << 16


def pieces(data: bytes) -> list[bytes]:
    """The input cut into pieces of as many bytes as its first byte says."""
    step = (data[0] or 256) if data else 1
    return [data[i : i + step] for i in range(1, len(data), step)]


def spdy(data: bytes) -> None:
    """A server's session: it fails, or its streams can be answered; what it sends is bounded by what it got."""
    session, pairing, sent = SpdySession(Role.SERVER, flow_control=FlowControl.LEARNED, max_streams=16), Pairing(), 0
    for piece in pieces(data):
        for event in session.receive_data(piece):
            match event:
                case SessionFailed():
                    assert session.failed
                case StreamOpened(stream, headers):
                    _answer(session, pairing, stream, headers)
                case StreamReset(stream, _):
                    pairing.stream_gone(stream)
                case DataReceived(stream, received):
                    session.consumed(stream, len(received))
        sent += len(session.data_to_send())
    assert sent <= MOST_OUT * len(data) + CONSTANT


def _answer(session: SpdySession, pairing: Pairing, stream: int, headers: dict[str, str]) -> None:
    try:
        session.reply(stream)
        pairing.stream_opened(stream, headers)
    except (BadStream, LocalError):
        return


def websocket(data: bytes) -> None:
    """A server's end, with the channels of each subprotocol behind it."""
    socket, sent = WebSocket(), 0
    codecs = [ChannelCodec(p) for p in ("v5.channel.k8s.io", "v4.base64.channel.k8s.io")]
    for piece in pieces(data):
        for fragment in socket.receive_data(piece):
            for codec in codecs:
                try:
                    codec.receive(fragment.payload, first=fragment.first, last=fragment.last)
                except BadChannelMessage:
                    continue
        sent += len(socket.data_to_send())
    assert sent <= MOST_OUT * len(data) + CONSTANT


def http(data: bytes) -> None:
    """A request, for which an upgrade can be tried, or a BadRequest, which can be answered."""
    head = RequestHead()
    try:
        for piece in pieces(data):
            request = head.receive_data(piece)
            if request is not None:
                accept(request, "v5.channel.k8s.io")
                head.switch([("Upgrade", "SPDY/3.1")])
                head.surplus()
                return
    except BadRequest as error:
        error_response(400, str(error))


def resize(data: bytes) -> None:
    decoder = ResizeDecoder()
    for piece in pieces(data):
        decoder.receive_data(piece)


TARGETS = {"spdy": spdy, "websocket": websocket, "http-upgrade": http, "resize": resize}
