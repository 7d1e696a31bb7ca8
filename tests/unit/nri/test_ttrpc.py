"""crishim/nri/ttrpc.py"""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.nri.ttrpc import (
    MAX_BODY,
    MAX_TEXT,
    BadMessage,
    Client,
    Code,
    MessageReader,
    Request,
    Response,
    Server,
    TooLarge,
    TtrpcMessage,
    encode,
)
from crishim.pb import ttrpc_pb2

u32 = st.integers(0, 0xFFFFFFFF)
u8 = st.integers(0, 255)
messages = st.builds(TtrpcMessage, u32, u8, u8, st.binary(max_size=60))


def request(stream: int, flags: int = 0) -> bytes:
    body = ttrpc_pb2.Request(service="s", method="m", payload=b"p", timeout_nano=1500000000)
    return encode(TtrpcMessage(stream, 1, flags, body.SerializeToString()))


def refusal(answer: Request | bytes) -> ttrpc_pb2.Status:
    assert isinstance(answer, bytes)
    (message,) = MessageReader().receive(answer)
    return ttrpc_pb2.Response.FromString(message.body).status


@given(st.lists(messages, max_size=6), st.lists(st.integers(0, 40), max_size=20))
def test_messages_survive_any_cut(sent: list[TtrpcMessage], steps: list[int]) -> None:
    data, reader, received, at = b"".join(map(encode, sent)), MessageReader(), [], 0
    for step in [*steps, len(data)]:
        received += list(reader.receive(data[at : at + step]))
        at += step
    assert received == sent


def test_a_call_and_its_answer() -> None:
    """The head's bytes as the protocol has them; the answer reaches the stream of the call."""
    client, server = Client(), Server()
    stream, message = client.request("nri.Plugin", "Configure", b"abc", 2.0)
    assert stream == 1
    assert message[4:10] == bytes((0, 0, 0, 1, 1, 0))
    assert list(server.receive(message)) == [Request(1, "nri.Plugin", "Configure", b"abc", 2.0)]
    assert list(client.receive(server.respond(1, b"answer"))) == [Response(1, Code.OK, "", b"answer")]
    assert client.request("s", "m", b"")[0] == 3


def test_an_empty_answer_is_a_head_alone() -> None:
    """As Go peers send it, and take it."""
    server = Server()
    list(server.receive(request(1)))
    assert server.respond(1, b"") == struct.pack(">IIBB", 0, 1, 2, 0)


def test_an_error_carries_its_code_and_a_bounded_text() -> None:
    client, server = Client(), Server()
    stream, message = client.request("s", "m", b"")
    list(server.receive(message))
    (answer,) = client.receive(server.fail(stream, Code.UNIMPLEMENTED, "x" * 100_000))
    assert (answer.code, answer.text) == (12, "x" * MAX_TEXT)


def test_a_response_counts_once_and_only_for_an_open_call() -> None:
    """Late, doubled and invented ones are dropped and counted; so is any other type."""
    client = Client()
    first, _ = client.request("s", "m", b"")
    second, _ = client.request("s", "m", b"")
    client.forget(first)
    answers = [encode(TtrpcMessage(s, 2, 0, b"")) for s in (first, second, second, 99, 2)]
    assert [a.stream for a in client.receive(b"".join(answers))] == [second]
    assert list(client.receive(encode(TtrpcMessage(second, 3, 0, b"")))) == []
    assert client.ignored == 5


@given(st.lists(st.integers(0, 9), max_size=9))
def test_streams_are_odd_and_rise(streams: list[int]) -> None:
    """Any other is refused on its own number, and opens nothing."""
    server, opened = Server(), [0]
    for stream in streams:
        (answer,) = server.receive(request(stream))
        if stream % 2 and stream > opened[-1]:
            assert answer == Request(stream, "s", "m", b"p", 1.5)
            opened.append(stream)
        else:
            assert refusal(answer).code == Code.INVALID_ARGUMENT
        assert server.waiting == set(opened[1:])


def test_streaming_calls_are_refused() -> None:
    (answer,) = Server().receive(request(1, flags=2))
    assert refusal(answer).code == Code.UNIMPLEMENTED


def test_a_body_above_the_limit_is_neither_sent_nor_read() -> None:
    """A call that cannot be sent uses no stream; a head that claims too much is enough to close."""
    client = Client()
    with pytest.raises(TooLarge):
        client.request("s", "m", bytes(MAX_BODY))
    assert client.request("s", "m", b"")[0] == 1
    with pytest.raises(BadMessage, match="4194305"):
        list(Server().receive(struct.pack(">IIBB", MAX_BODY + 1, 1, 1, 0)))
    assert refusal(Server().respond(1, bytes(MAX_BODY))).code == Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("end", [Client, Server])
def test_a_body_that_is_no_protobuf_ends_the_connection(end: type[Client] | type[Server]) -> None:
    machine = end()
    kind = 1
    if isinstance(machine, Client):
        machine.request("s", "m", b"")
        kind = 2
    with pytest.raises(BadMessage, match="ttrpc"):
        list(machine.receive(encode(TtrpcMessage(1, kind, 0, b"\xff\xff"))))
