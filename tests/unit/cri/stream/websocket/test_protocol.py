"""crishim/cri/stream/websocket/protocol.py: joined with the library's own client."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from crishim.cri.stream.http_upgrade import BadRequest, RequestHead, UpgradeRequest
from crishim.cri.stream.portforward.protocol import TUNNEL
from crishim.cri.stream.websocket.protocol import Fragment, WebSocket, accept

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def handshake(**changes: str) -> UpgradeRequest:
    found = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-key": KEY, "sec-websocket-version": "13"}
    found |= {k.replace("_", "-"): v for k, v in changes.items()}
    return UpgradeRequest(found.pop("method", "GET"), "/", {k: [v] for k, v in found.items() if v})


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
    """Messages come out fragment by fragment with their first and last marked."""
    client, server = joined()
    client.send_binary(b"whole")
    client.send_text(b"te", fin=False)
    client.send_continuation(b"xt", fin=True)
    assert server.receive_data(b"".join(client.data_to_send())) == [
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


@given(st.lists(st.tuples(st.binary(max_size=70_000), st.booleans()), min_size=1, max_size=4), st.integers(1, 40_000))
def test_frames_come_out_as_their_bytes_come(sent: list[tuple[bytes, bool]], step: int) -> None:
    """However a message is cut, into frames by the client and into pieces by the network, its bytes come out."""
    client, server = joined()
    for number, (payload, ping) in enumerate(sent):
        last = number == len(sent) - 1
        client.send_continuation(payload, fin=last) if number else client.send_binary(payload, fin=last)
        if ping:
            client.send_ping(b"between")
    data = b"".join(client.data_to_send())
    found = [f for at in range(0, len(data), step) for f in server.receive_data(data[at : at + step])]
    assert b"".join(f.payload for f in found) == b"".join(payload for payload, _ in sent)
    assert [f.first for f in found] == [True] + [False] * (len(found) - 1)
    assert [f.last for f in found] == [False] * (len(found) - 1) + [True]


def test_a_huge_frame_is_never_held() -> None:
    """The bytes of a 32 MiB frame are handed on as they come; a larger one closes with 1009 at its head."""
    server = WebSocket()
    server.receive_data(b"\x82\xff" + (32 << 20).to_bytes(8) + b"mask")
    for _ in range(3):
        assert sum(len(f.payload) for f in server.receive_data(bytes(100_000))) == 100_000
        assert len(server._reader._buffer) == 0
    client, server = joined()
    server.receive_data(b"\x82\xff" + ((32 << 20) + 1).to_bytes(8) + b"mask")
    assert [f.opcode for f in frames(client, server)] == [Opcode.CLOSE]
    assert client.close_rcvd is not None
    assert client.close_rcvd.code == 1009


@pytest.mark.parametrize(
    "raw",
    [
        "c281 00000000 78",  # a reserved bit
        "8381 00000000 78",  # an unknown opcode
        "8081 00000000 78",  # a continuation of nothing
        "0281 00000000 78 8281 00000000 78",  # a message within a message
        "0980 00000000",  # a ping in fragments
        "89fe 007e 00000000",  # a long ping
        "8801 78",  # no mask
    ],
)
def test_broken_frames_close(raw: str) -> None:
    """Code 1002, as soon as it can be seen."""
    client, server = joined()
    server.receive_data(bytes.fromhex(raw))
    assert not server.is_open
    assert [f.opcode for f in frames(client, server)] == [Opcode.CLOSE]
    assert client.close_rcvd is not None
    assert client.close_rcvd.code == 1002


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
