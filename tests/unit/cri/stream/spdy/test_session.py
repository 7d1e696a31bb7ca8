"""crishim/cri/stream/spdy/session.py: most tests join a client and a server, so that each exercises both ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.cri.stream.spdy.events import (
    SESSION,
    DataReceived,
    GoneAway,
    HeadersReceived,
    PingAnswered,
    SessionFailed,
    StreamEnded,
    StreamOpened,
    StreamReplied,
    StreamReset,
)
from crishim.cri.stream.spdy.frames import (
    SETTING_INITIAL_WINDOW,
    Data,
    FrameWriter,
    GoAway,
    Ping,
    ResetStatus,
    Settings,
    SynReply,
    SynStream,
    WindowUpdate,
)
from crishim.cri.stream.spdy.session import LocalError, SpdySession
from crishim.cri.stream.spdy.state import WINDOW, FlowControl, Role
from tests.unit.cri.stream.spdy.spdy_pair import Pair


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_one_stream_from_birth_to_end(step: int) -> None:
    """Open, reply, data both ways, half-close by each end; then both have forgotten it. However the bytes are cut."""
    pair = Pair(step=step)
    stream = pair.client.open_stream({"streamType": "stdin"})
    assert pair.carry() == ([], [StreamOpened(1, {"streamtype": "stdin"})])
    pair.server.reply(stream, {"x": "y"})
    assert pair.carry() == ([StreamReplied(1, {"x": "y"})], [])
    pair.client.send_data(stream, b"in", fin=True)
    client, server = pair.carry()
    assert b"".join(e.data for e in server if isinstance(e, DataReceived)) == b"in"
    assert server[-1] == StreamEnded(1)
    pair.server.send_data(stream, b"out", fin=True)
    client, server = pair.carry()
    assert client[-1] == StreamEnded(1)
    assert not pair.client.is_open(stream)
    assert not pair.server.is_open(stream)


def test_ids_are_odd_for_clients_and_even_for_servers() -> None:
    """Both ends can open streams, and their ids never meet."""
    pair = Pair()
    assert [pair.client.open_stream({}) for _ in range(3)] == [1, 3, 5]
    assert [pair.server.open_stream({}) for _ in range(2)] == [2, 4]
    client, server = pair.carry()
    assert len(client) == 2
    assert len(server) == 3


def test_headers_may_follow_the_reply() -> None:
    """A HEADERS frame is an event of its own, and may end the stream."""
    pair = Pair()
    stream = pair.open()
    pair.server.send_headers(stream, {"a": "b"}, fin=True)
    assert pair.carry()[0] == [HeadersReceived(stream, {"a": "b"}), StreamEnded(stream)]


def test_reset_ends_both_directions() -> None:
    """After a reset neither end may send, and late data for the stream is dropped in silence."""
    pair = Pair()
    stream = pair.open()
    pair.client.send_data(stream, b"late")
    pair.server.reset(stream)
    client, server = pair.carry()
    assert StreamReset(stream, ResetStatus.CANCEL) in client
    assert not [e for e in server if isinstance(e, DataReceived)]
    for end in (pair.client, pair.server):
        with pytest.raises(LocalError):
            end.send_data(stream, b"x")
        end.reset(stream)
    assert pair.carry() == ([], [])


def test_pings_are_echoed_and_told_apart() -> None:
    """Each end's pings come back to it as PingAnswered; the other end's are answered without an event."""
    pair = Pair()
    first, second = pair.client.ping(), pair.server.ping()
    assert (first % 2, second % 2) == (1, 0)
    assert pair.carry() == ([PingAnswered(first)], [PingAnswered(second)])


def test_go_away_refuses_new_streams_only() -> None:
    """Streams that are open go on after GOAWAY; a new one is refused."""
    pair = Pair()
    stream = pair.open()
    pair.server.go_away()
    assert pair.carry()[0] == [GoneAway(stream, 0)]
    late = pair.client.open_stream({})
    assert pair.carry()[0] == [StreamReset(late, ResetStatus.REFUSED_STREAM)]
    pair.client.send_data(stream, b"still")
    assert pair.carry()[1] == [DataReceived(stream, b"still")]
    with pytest.raises(LocalError):
        pair.server.open_stream({})


def test_streams_beyond_the_limit_are_refused() -> None:
    """A peer cannot make us hold more streams than max_streams, and gets room back as streams end."""
    pair = Pair(max_streams=2)
    first, second, third = (pair.client.open_stream({}) for _ in range(3))
    assert pair.carry()[0] == [StreamReset(third, ResetStatus.REFUSED_STREAM)]
    pair.client.reset(first)
    pair.client.open_stream({})
    client, server = pair.carry()
    assert client == []
    assert isinstance(server[-1], StreamOpened)
    assert pair.server.is_open(second)


@pytest.mark.parametrize(
    "frames",
    [
        [SynStream(2, {})],  # a client may not use even ids
        [SynStream(3, {}), SynStream(3, {})],  # nor one twice
        [SynStream(3, {}), SynStream(1, {})],  # nor go back
        [WindowUpdate(SESSION, 0x7FFFFFFF)],  # a window beyond 2^31
        [SynStream(1, {}), Data(1, bytes(WINDOW + 1), False)],  # beyond the session's window
        [Settings({SETTING_INITIAL_WINDOW: 1 << 31})],
    ],
)
def test_breaking_the_protocol_ends_the_session(frames: list[SynStream | WindowUpdate | Data | Settings]) -> None:
    """A broken session says GOAWAY with PROTOCOL_ERROR, tells its owner once, and then reads and sends nothing."""
    session, peer = SpdySession(Role.SERVER), FrameWriter()
    events = [e for f in frames for e in session.receive_data(peer.write(f))]
    assert isinstance(events[-1], SessionFailed)
    assert session.data_to_send().endswith(bytes.fromhex("80030007 00000008") + session_end(frames))
    assert session.receive_data(peer.write(Ping(1))) == []
    session.go_away()
    assert session.data_to_send() == b""


def session_end(frames: list[SynStream | WindowUpdate | Data | Settings]) -> bytes:
    """The GOAWAY's body: the last stream that was taken, PROTOCOL_ERROR."""
    odd = [f.stream for f in frames if isinstance(f, SynStream) and f.stream % 2]
    return max(odd, default=0).to_bytes(4) + (1).to_bytes(4)


def test_data_after_the_end_resets_the_stream() -> None:
    """A peer that goes on after its own FIN loses that stream."""
    session, peer = SpdySession(Role.SERVER), FrameWriter()
    session.receive_data(peer.write(SynStream(1, {}, fin=True)))
    assert session.receive_data(peer.write(Data(1, b"x", False))) == [StreamReset(1, ResetStatus.STREAM_ALREADY_CLOSED)]


def test_data_for_a_stream_that_never_was_is_rejected() -> None:
    """The peer is told INVALID_STREAM, and no event comes of it."""
    session, peer = SpdySession(Role.SERVER), FrameWriter()
    assert session.receive_data(peer.write(Data(9, b"x", False))) == []
    assert session.data_to_send() == bytes.fromhex("80030003 00000008 00000009 00000002")


def test_a_stream_must_be_answered_before_it_carries_data() -> None:
    """Sending on a stream the peer opened needs a reply first, and there is only one reply."""
    session = SpdySession(Role.SERVER)
    session.receive_data(FrameWriter().write(SynStream(1, {})))
    with pytest.raises(LocalError):
        session.send_data(1, b"x")
    session.reply(1)
    with pytest.raises(LocalError):
        session.reply(1)


def test_a_unidirectional_stream_takes_no_data_back() -> None:
    """UNIDIRECTIONAL means half-closed from birth."""
    session = SpdySession(Role.SERVER)
    session.receive_data(FrameWriter().write(SynStream(1, {}, unidirectional=True)))
    assert session.sendable(1) == 0
    assert session.receive_data(FrameWriter().write(Data(1, b"x", True))) == [DataReceived(1, b"x"), StreamEnded(1)]
    assert not session.is_open(1)


def test_frames_for_forgotten_streams_mean_nothing() -> None:
    """Replies, resets and windows for a stream that is gone are ignored."""
    session, peer = SpdySession(Role.CLIENT), FrameWriter()
    stream = session.open_stream({})
    session.reset(stream)
    session.data_to_send()
    for frame in (SynReply(stream, {}), WindowUpdate(stream, 1), GoAway(0, 0)):
        session.receive_data(peer.write(frame))
    assert session.data_to_send() == b""


@given(st.binary(max_size=400), st.sampled_from(FlowControl), st.sampled_from(Role))
def test_garbage_never_raises(data: bytes, flow_control: FlowControl, role: Role) -> None:
    """Any bytes give events; a session that cannot go on says so with its last event."""
    session = SpdySession(role, flow_control=flow_control)
    events = [e for at in range(0, len(data), 9) for e in session.receive_data(data[at : at + 9])]
    assert not any(isinstance(e, SessionFailed) for e in events[:-1])
    assert session.failed == bool(events and isinstance(events[-1], SessionFailed))


actions = st.lists(st.tuples(st.sampled_from(["open", "data", "fin", "reset", "eat", "carry"]), st.integers(0, 40_000)))


@given(actions, st.integers(1, 5000))
def test_two_ends_agree_about_everything(script: list[tuple[str, int]], step: int) -> None:
    """Whatever two well-behaved ends do, no byte is lost or made up, no session fails, and both see the same ends."""
    pair = Pair(step=step)
    sent: dict[int, bytes] = {}
    got: dict[int, bytes] = {}
    reset: set[int] = set()

    def carry() -> None:
        client, server = pair.carry()
        assert not any(isinstance(e, SessionFailed) for e in client + server)
        for event in server:
            if isinstance(event, StreamOpened) and pair.server.is_open(event.stream):
                pair.server.reply(event.stream)
            elif isinstance(event, DataReceived):
                got[event.stream] = got.get(event.stream, b"") + event.data
                pair.server.consumed(event.stream, len(event.data))

    for action, number in script:
        streams = sorted(s for s in sent if pair.client.sendable(s) or pair.client.is_open(s))
        stream = streams[number % len(streams)] if streams else None
        if action == "open":
            sent[pair.client.open_stream({})] = b""
        elif action == "carry":
            carry()
        elif stream is None:
            continue
        elif action == "data":
            chunk = bytes([number % 251]) * min(number, pair.client.sendable(stream))
            if chunk:
                pair.client.send_data(stream, chunk)
                sent[stream] += chunk
        elif action == "reset":
            pair.client.reset(stream)
            reset.add(stream)
    carry()
    for stream, data in sent.items():
        received = got.get(stream, b"")
        assert data.startswith(received) if stream in reset else data == received
