"""crishim/nri/mux.py"""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.nri.mux import FIRST, MAX_PAYLOAD, PLUGIN_SERVICE, RUNTIME_SERVICE, BadTrunk, Demultiplexer, frames

connections = st.sampled_from((PLUGIN_SERVICE, RUNTIME_SERVICE))
sent = st.lists(st.tuples(st.one_of(connections, st.integers(0, 0xFFFFFFFF)), st.binary(max_size=40)), max_size=8)


def cut(data: bytes, steps: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for step in steps:
        pieces.append(data[at : at + step])
        at += step
    return [*pieces, data[at:]]


def raw(connection: int, payload: bytes) -> bytes:
    return struct.pack(">II", connection, len(payload)) + payload


@given(sent, st.lists(st.integers(0, 30), max_size=20))
def test_each_connection_is_a_stream_of_bytes(messages: list[tuple[int, bytes]], steps: list[int]) -> None:
    """However the trunk is cut: each connection's bytes in order, nothing of connections that are not there."""
    trunk = Demultiplexer()
    received = {PLUGIN_SERVICE: b"", RUNTIME_SERVICE: b""}
    for piece in cut(b"".join(raw(*m) for m in messages), steps):
        for part in trunk.receive(piece):
            received[part.connection] += part.data
    for connection, data in received.items():
        assert data == b"".join(payload for number, payload in messages if number == connection)
    assert trunk.dropped == sum(not payload or number not in received for number, payload in messages)


@given(connections, st.integers(0, 3 * FIRST))
def test_frames_are_cut_as_go_peers_bear_them(connection: int, size: int) -> None:
    """The first frame is at most 4096 bytes, all the rest is in one; nothing is lost."""
    message = bytes(i % 251 for i in range(size))
    data, lengths, joined = frames(connection, message), [], b""
    while data:
        number, length = struct.unpack(">II", data[:8])
        assert number == connection
        lengths.append(length)
        joined += data[8 : 8 + length]
        data = data[8 + length :]
    assert joined == message
    assert lengths == ([size] if size <= 4096 else [4096, size - 4096])


def test_a_frame_above_the_limit_ends_the_trunk() -> None:
    """Before a byte of it is held, and one of just the limit does not."""
    with pytest.raises(BadTrunk, match="4194315"):
        Demultiplexer().receive(struct.pack(">II", PLUGIN_SERVICE, MAX_PAYLOAD + 1))
    with pytest.raises(BadTrunk):
        Demultiplexer().receive(struct.pack(">II", 77, 0xFFFFFFFF))
    assert Demultiplexer().receive(struct.pack(">II", PLUGIN_SERVICE, MAX_PAYLOAD)) == []


def test_a_message_above_the_limit_is_not_sent() -> None:
    with pytest.raises(ValueError, match="4194315"):
        frames(PLUGIN_SERVICE, bytes(MAX_PAYLOAD + 1))
