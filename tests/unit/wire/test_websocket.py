"""crishim/wire/websocket.py: joined with the library's own client."""

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from crishim.wire.http_upgrade import BadRequest, Request, RequestHead
from crishim.wire.portforward import TUNNEL
from crishim.wire.websocket import Fragment, WebSocket, accept

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def handshake(**changes: str) -> Request:
    found = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-key": KEY, "sec-websocket-version": "13"}
    found |= {k.replace("_", "-"): v for k, v in changes.items()}
    return Request(found.pop("method", "GET"), "/", {k: [v] for k, v in found.items() if v})


def joined() -> tuple[ClientProtocol, WebSocket]:
    """A client and a server after their handshake."""
    client = ClientProtocol(parse_uri("ws://h/exec/x"))
    client.send_request(client.connect())
    head = RequestHead()
    request = head.receive_data(b"".join(client.data_to_send()))
    assert request is not None
    client.receive_data(head.switch(accept(request, "")))
    client.events_received()
    assert client.state is State.OPEN
    return client, WebSocket()


def frames(client: ClientProtocol, server: WebSocket) -> list[Frame]:
    client.receive_data(server.data_to_send())
    return [e for e in client.events_received() if isinstance(e, Frame)]


def test_the_key_is_answered_as_the_rfc_shows() -> None:
    """RFC 6455, section 1.3, has an example; the tunnel's name, no HTTP token, is echoed all the same."""
    headers = dict(accept(handshake(), TUNNEL))
    assert headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert headers["Sec-WebSocket-Protocol"] == TUNNEL
    assert "Sec-WebSocket-Protocol" not in dict(accept(handshake(), ""))


@pytest.mark.parametrize(
    "change",
    [{"method": "POST"}, {"sec_websocket_version": "8"}, {"sec_websocket_key": ""}, {"sec_websocket_key": "c2hvcnQ="},
     {"sec_websocket_key": "%%%"}],
)  # fmt: skip
def test_a_bad_handshake_is_refused(change: dict[str, str]) -> None:
    """A wrong method, version or key raises BadRequest."""
    with pytest.raises(BadRequest):
        accept(handshake(**change), "")


def test_messages_and_fragments() -> None:
    """Messages come out whole, or fragment by fragment with their first and last marked."""
    client, server = joined()
    client.send_binary(b"whole")
    client.send_text(b"te", fin=False)
    client.send_continuation(b"xt", fin=True)
    data = b"".join(client.data_to_send())
    found = [f for i in range(len(data)) for f in server.receive_data(data[i : i + 1])]
    assert found == [
        Fragment(b"whole", True, True, False),
        Fragment(b"te", True, False, True),
        Fragment(b"xt", False, True, True),
    ]
    server.send(b"answer")
    server.send(b"text", text=True)
    assert [(f.opcode, bytes(f.data)) for f in frames(client, server)] == [
        (Opcode.BINARY, b"answer"),
        (Opcode.TEXT, b"text"),
    ]


def test_pings_are_answered_and_pongs_need_no_ping() -> None:
    """A ping has its pong; a pong can be sent unasked."""
    client, server = joined()
    client.send_ping(b"are you there")
    assert server.receive_data(b"".join(client.data_to_send())) == []
    assert [(f.opcode, bytes(f.data)) for f in frames(client, server)] == [(Opcode.PONG, b"are you there")]
    server.pong()
    assert [f.opcode for f in frames(client, server)] == [Opcode.PONG]


def test_closing_is_normal_or_says_why() -> None:
    """Code 1000, or 1002 with a reason; afterwards nothing is sent."""
    client, server = joined()
    server.close()
    server.send(b"late")
    server.pong()
    assert [f.opcode for f in frames(client, server)] == [Opcode.CLOSE]
    assert client.close_rcvd == Close(1000, "")
    assert not server.is_open
    client, server = joined()
    server.close(broken="not base64")
    frames(client, server)
    assert client.close_rcvd == Close(1002, "not base64")


def test_a_clients_close_is_answered() -> None:
    """The server echoes the close and is not open any more."""
    client, server = joined()
    client.send_close(1000)
    server.receive_data(b"".join(client.data_to_send()))
    assert not server.is_open
    assert [f.opcode for f in frames(client, server)] == [Opcode.CLOSE]


def test_an_unmasked_frame_closes() -> None:
    """A client must mask its frames (RFC 6455, 5.1)."""
    _, server = joined()
    server.receive_data(b"\x82\x01x")
    assert not server.is_open
    assert server.data_to_send()
