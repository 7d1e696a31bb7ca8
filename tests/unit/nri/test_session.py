"""crishim/nri/session.py: two machines joined, so that each test exercises both ends."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.nri.session import BadMessage, BadTrunk, Code, Peer, Request, Response, Session, TooLarge


def deliver(sender: Session, receiver: Session, step: int = 1 << 20) -> list[Request | Response]:
    """Carry what one end has to send to the other, `step` bytes at a time."""
    data = sender.data_to_send()
    return [event for at in range(0, len(data), step) for event in receiver.receive(data[at : at + step])]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9000)), max_size=12), st.integers(1, 5000))
def test_calls_go_both_ways_at_once(calls: list[tuple[bool, int]], step: int) -> None:
    """Each end serves on its own connection: the same stream numbers are different calls."""
    runtime, plugin = Session(Peer.RUNTIME), Session(Peer.PLUGIN)
    for by_runtime, size in calls:
        (runtime if by_runtime else plugin).call("service", "method", bytes(size), 1.0)
    asked = {True: deliver(runtime, plugin, step), False: deliver(plugin, runtime, step)}
    for by_runtime, end in ((True, plugin), (False, runtime)):
        sizes = [size for which, size in calls if which is by_runtime]
        assert [(r.stream, len(r.payload)) for r in asked[by_runtime]] == [(2 * i + 1, n) for i, n in enumerate(sizes)]
        assert end.waiting == len(sizes)
        for request in asked[by_runtime]:
            end.respond(request.stream, request.payload)
    for sender, receiver, requests in ((plugin, runtime, asked[True]), (runtime, plugin, asked[False])):
        answers = deliver(sender, receiver, step)
        assert answers == [Response(r.stream, Code.OK, "", r.payload) for r in requests]
        assert sender.waiting == sender.ignored == 0


def test_no_frame_has_bytes_of_two_messages() -> None:
    """A Go peer's buffer would not take the second one."""
    runtime = Session(Peer.RUNTIME)
    for size in (10, 5000, 20):
        runtime.call("s", "m", bytes(size))
    data, lengths = runtime.data_to_send(), []
    while data:
        connection, length = struct.unpack(">II", data[:8])
        assert connection == 1
        lengths.append(length)
        data = data[8 + length :]
    assert len(lengths) == 4
    assert lengths[1] == 4096
    assert max(lengths[0], lengths[3]) < 100


def test_a_refused_stream_is_answered_without_asking() -> None:
    plugin, runtime = Session(Peer.PLUGIN), Session(Peer.RUNTIME)
    plugin.call("s", "m", b"")
    twice = plugin.data_to_send() * 2
    assert len(list(runtime.receive(twice))) == 1
    assert list(plugin.receive(runtime.data_to_send())) == [Response(1, 3, "stream 1 cannot be opened", b"")]


def test_what_has_no_meaning_is_counted() -> None:
    """Frames for nobody, responses to nothing."""
    runtime = Session(Peer.RUNTIME)
    nobody = struct.pack(">II", 9, 3) + b"abc"
    answer = struct.pack(">II", 1, 10) + struct.pack(">IIBB", 0, 7, 2, 0)
    assert list(runtime.receive(nobody + answer)) == []
    assert runtime.ignored == 2


def test_a_call_that_is_too_large_sends_nothing() -> None:
    runtime = Session(Peer.RUNTIME)
    with pytest.raises(TooLarge):
        runtime.call("s", "m", bytes(5 << 20))
    assert runtime.data_to_send() == b""


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_are_events_or_the_end(pieces: list[bytes]) -> None:
    runtime = Session(Peer.RUNTIME)
    runtime.call("s", "m", b"")
    try:
        for piece in pieces:
            for event in runtime.receive(piece):
                assert isinstance(event, Request | Response)
    except (BadTrunk, BadMessage):
        return
