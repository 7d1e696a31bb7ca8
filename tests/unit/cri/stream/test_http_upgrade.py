"""crishim/cri/stream/http_upgrade.py"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.cri.stream.http_upgrade import MAX_HEAD, BadRequest, RequestHead, error_response

POST = (
    b"POST /exec/abc?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
    b"X-Stream-Protocol-Version: v4.channel.k8s.io\r\nX-Stream-Protocol-Version: v3.channel.k8s.io, x\r\n\r\n"
)


def test_a_head_cut_anywhere_is_one_request() -> None:
    """The head is complete with its last byte, and its parts are at hand by any case of their names."""
    head = RequestHead()
    answers = [head.receive_data(POST[i : i + 1]) for i in range(len(POST))]
    request = answers.pop()
    assert answers == [None] * len(answers)
    assert request is not None
    assert (request.method, request.path) == ("POST", "/exec/abc")
    assert request.values("x-stream-protocol-version") == ["v4.channel.k8s.io", "v3.channel.k8s.io", "x"]
    assert request.asks_for("spdy/3.1")
    assert not request.asks_for("websocket")


def test_switching_hands_over_what_came_behind_the_head() -> None:
    """After the 101 the bytes that followed the head belong to the next protocol."""
    head = RequestHead()
    head.receive_data(POST + b"\x80\x03rest")
    answer = head.switch([("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")])
    assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"upgrade: spdy/3.1\r\n" in answer.lower()
    assert head.surplus() == b"\x80\x03rest"


def test_a_body_stands_in_the_way_of_an_upgrade() -> None:
    """A request that announces a body cannot switch."""
    head = RequestHead()
    head.receive_data(POST.replace(b"Content-Length: 0", b"Content-Length: 5") + b"hello")
    with pytest.raises(BadRequest, match="body"):
        head.switch([("Upgrade", "SPDY/3.1")])


def test_an_endless_head_is_refused() -> None:
    """A head is given up at MAX_HEAD."""
    head = RequestHead()
    assert head.receive_data(b"GET / HTTP/1.1\r\n" + b"X-Y: zzzz\r\n" * (MAX_HEAD // 12)) is None
    with pytest.raises(BadRequest):
        head.receive_data(b"X-Y: zzzz\r\n" * 400)


@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    """Any bytes are a request, the beginning of one, or BadRequest."""
    head = RequestHead()
    try:
        head.receive_data(data)
    except BadRequest:
        return


def test_a_refusal_is_a_whole_answer() -> None:
    """Status, headers, one line, and the word that the connection ends."""
    answer = error_response(403, "no", [("X-Accepted", "a"), ("X-Accepted", "b")])
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert head.lower().count(b"x-accepted: ") == 2
    assert b"connection: close" in head.lower()
    assert body == b"no\n"
