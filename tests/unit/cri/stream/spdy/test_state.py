"""crishim/cri/stream/spdy/state.py: windows, seen through whole sessions."""

import pytest

from crishim.cri.stream.spdy.events import (
    SESSION,
    DataReceived,
    StreamEnded,
    StreamReset,
    WindowOpened,
    WindowsChanged,
)
from crishim.cri.stream.spdy.frames import (
    SETTING_INITIAL_WINDOW,
    Data,
    FrameWriter,
    ResetStatus,
    Settings,
    SynStream,
    WindowUpdate,
)
from crishim.cri.stream.spdy.session import LocalError, SpdySession
from crishim.cri.stream.spdy.state import WINDOW, FlowControl, Role
from tests.unit.cri.stream.spdy.spdy_pair import Pair


def test_a_strict_sender_stops_at_the_window() -> None:
    """64 KiB may be sent on a stream; more only after the receiver used some up."""
    pair = Pair()
    stream = pair.open()
    pair.client.send_data(stream, bytes(WINDOW))
    assert pair.client.sendable(stream) == 0
    with pytest.raises(LocalError):
        pair.client.send_data(stream, b"x")
    pair.carry()
    pair.server.consumed(stream, WINDOW)
    client, _ = pair.carry()
    assert set(client) == {WindowOpened(stream), WindowOpened(SESSION)}
    assert pair.client.sendable(stream) == WINDOW


def test_the_session_window_covers_all_streams() -> None:
    """One stream that fills the session's window stops the others, until its bytes are used up."""
    pair = Pair()
    greedy, other = pair.open(), pair.open()
    pair.client.send_data(greedy, bytes(WINDOW))
    assert pair.client.sendable(other) == 0
    pair.carry()
    pair.server.reset(greedy)  # the bytes of a stream that is gone are given back all the same
    pair.server.consumed(greedy, WINDOW)
    pair.carry()
    assert pair.client.sendable(other) == WINDOW


def test_an_empty_final_frame_needs_no_window() -> None:
    """A stream can be ended while its window is shut."""
    pair = Pair()
    stream = pair.open()
    pair.client.send_data(stream, bytes(WINDOW))
    pair.client.send_data(stream, b"", fin=True)
    assert pair.carry()[1][-1] == StreamEnded(stream)


def test_settings_change_the_windows_of_open_streams() -> None:
    """SETTINGS_INITIAL_WINDOW_SIZE moves existing windows by the difference, below zero if need be."""
    pair = Pair()
    stream = pair.open()
    pair.client.send_data(stream, bytes(1000))
    events = pair.client.receive_data(FrameWriter().write(Settings({SETTING_INITIAL_WINDOW: 500})))
    assert events == [WindowsChanged()]
    assert pair.client.sendable(stream) == 0
    pair.client.receive_data(FrameWriter().write(WindowUpdate(stream, 600)))
    assert pair.client.sendable(stream) == 100


def test_a_peer_without_windows_is_served_without_windows() -> None:
    """LEARNED: a megabyte goes out to a peer that never sends WINDOW_UPDATE, and one may come in."""
    session = SpdySession(Role.SERVER, flow_control=FlowControl.LEARNED)
    peer = FrameWriter()
    session.receive_data(peer.write(SynStream(1, {})))
    session.reply(1)
    assert session.sendable(1) > 1 << 20
    session.send_data(1, bytes(1 << 20))
    events = session.receive_data(peer.write(Data(1, bytes(1 << 20), False)))
    assert events == [DataReceived(1, bytes(1 << 20))]


def test_a_peer_with_windows_is_noticed() -> None:
    """LEARNED: after the first WINDOW_UPDATE what was sent so far counts against the window."""
    session = SpdySession(Role.SERVER, flow_control=FlowControl.LEARNED)
    peer = FrameWriter()
    session.receive_data(peer.write(SynStream(1, {})))
    session.reply(1)
    session.send_data(1, bytes(60_000))
    session.receive_data(peer.write(WindowUpdate(1, 100)) + peer.write(WindowUpdate(SESSION, 100)))
    assert session.sendable(1) == WINDOW - 60_000 + 100


def test_window_updates_go_out_even_to_a_silent_peer() -> None:
    """LEARNED: a peer that keeps windows but has not shown it yet must not wait for us for ever."""
    pair = Pair(FlowControl.LEARNED)
    stream = pair.open()
    pair.client.send_data(stream, bytes(WINDOW))
    pair.carry()
    pair.server.consumed(stream, WINDOW)
    assert WindowOpened(stream) in pair.carry()[0]


def test_a_strict_receiver_resets_a_stream_that_overruns() -> None:
    """Data beyond a stream's window costs the stream, not the session."""
    session, peer = SpdySession(Role.SERVER), FrameWriter()
    session.receive_data(peer.write(SynStream(1, {})) + peer.write(SynStream(3, {})))
    session.receive_data(peer.write(Data(1, bytes(40_000), False)))
    session.consumed(3, 40_000)  # the session's window is open again, the stream's is not
    events = session.receive_data(peer.write(Data(1, bytes(40_000), False)))
    assert events == [StreamReset(1, ResetStatus.FLOW_CONTROL_ERROR)]
    assert session.is_open(3)
