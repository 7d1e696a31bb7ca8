"""What a frame costs does not depend on how many streams are open, halves wait, or bytes came before it."""

from collections.abc import Callable

import pytest

from crishim.cri.stream.portforward.protocol import Pairing
from crishim.cri.stream.remotecommand.protocol import V5, ResizeDecoder
from crishim.cri.stream.spdy.events import SESSION, SessionFailed, WindowsChanged
from crishim.cri.stream.spdy.frames import (
    SETTING_INITIAL_WINDOW,
    Data,
    Frame,
    FrameWriter,
    Ping,
    RstStream,
    Settings,
    WindowUpdate,
)
from crishim.cri.stream.spdy.frames import SynStream as Syn
from crishim.cri.stream.spdy.session import MAX_WINDOW_CHANGES, SpdySession
from crishim.cri.stream.spdy.state import FlowControl, Role
from crishim.cri.stream.websocket.channel_codec import BadChannelMessage, ChannelCodec
from tests.fuzz.work import work

FEW, MANY = 10, 1000

FLOODS: dict[str, Callable[[int], list[Frame]]] = {
    "half opened and reset": lambda n: [Syn(n, {"streamtype": "data"}), RstStream(n, 5)],
    "window of a stream": lambda n: [WindowUpdate(1, 1)],
    "window of the session": lambda n: [WindowUpdate(SESSION, 1)],
    "settings": lambda n: [Settings({SETTING_INITIAL_WINDOW: 70000 + n % 2})],
    "other settings": lambda n: [Settings({1: n})],
    "ping": lambda n: [Ping(n)],
    "data without bytes": lambda n: [Data(1, b"", False)],
    "data for nobody": lambda n: [Data(n, b"x", False)],
    "too many streams": lambda n: [Syn(n, {})],
}


def cost(flood: Callable[[int], list[Frame]], streams: int) -> int:
    """The work for one round of the flood while so many streams are open."""
    session, writer = SpdySession(Role.SERVER, flow_control=FlowControl.LEARNED, max_streams=streams + 1), FrameWriter()
    for n in range(streams):
        session.receive_data(writer.write(Syn(2 * n + 1, {})))
    number = 2 * streams + 1
    if flood is FLOODS["too many streams"]:
        session.receive_data(writer.write(Syn(number, {})))
        number += 2
    data = b"".join(writer.write(frame) for frame in flood(number))
    count = work(lambda: session.receive_data(data))
    assert not session.failed
    return count


@pytest.mark.parametrize("name", FLOODS)
def test_a_frame_costs_the_same_among_few_and_many_streams(name: str) -> None:
    """Counted in instructions: a thousand streams make no frame dearer."""
    assert cost(FLOODS[name], MANY) <= cost(FLOODS[name], FEW) + 50


def test_an_initial_window_may_change_only_so_often() -> None:
    """Each change wakes whoever waits for room, so a peer gets a few and then loses its session."""
    session, writer = SpdySession(Role.SERVER, flow_control=FlowControl.LEARNED), FrameWriter()
    for n in range(MAX_WINDOW_CHANGES):
        assert session.receive_data(writer.write(Settings({SETTING_INITIAL_WINDOW: n}))) == [WindowsChanged()]
    assert isinstance(session.receive_data(writer.write(Settings({SETTING_INITIAL_WINDOW: 99})))[0], SessionFailed)


def test_a_changed_initial_window_is_every_streams() -> None:
    """A stream's window is what it was opened with, less what was sent, plus the change; it may be below zero."""
    session, writer = SpdySession(Role.SERVER, flow_control=FlowControl.LEARNED), FrameWriter()
    session.receive_data(writer.write(Syn(1, {})) + writer.write(Syn(3, {})))
    session.reply(1)
    session.send_data(1, bytes(10_000))
    session.receive_data(writer.write(Settings({SETTING_INITIAL_WINDOW: 8_000})))
    assert (session.sendable(1), session.sendable(3)) == (0, 8_000)
    session.receive_data(writer.write(WindowUpdate(1, 3_000)))
    assert session.sendable(1) == 1_000


def test_halves_that_come_and_go_cost_the_same() -> None:
    """Pairing finds and forgets a half without looking at the others."""

    def cost(halves: int) -> int:
        pairing = Pairing()
        for n in range(halves):
            pairing.stream_opened(2 * n + 1, {"streamtype": "data", "port": "80", "requestid": str(n)})

        def one() -> None:
            pairing.stream_opened(9999, {"streamtype": "error", "port": "80", "requestid": "x"})
            assert pairing.waits(9999)
            pairing.stream_gone(9999)

        return work(one)

    assert cost(MANY) <= cost(FEW) + 50


def test_a_long_close_signal_is_refused_at_its_second_byte() -> None:
    """A close signal in fragments of one byte is not collected."""
    codec = ChannelCodec(V5)
    assert codec.receive(b"\xff", first=True, last=False) == []
    assert codec.receive(b"\x00", first=False, last=False) == []
    with pytest.raises(BadChannelMessage):
        codec.receive(b"\x00", first=False, last=False)


@pytest.mark.parametrize("piece", [b"1 ", b'{"a":', b"[", b'{"Width":1,"Height":2}', b'"'])
def test_resizes_cost_what_their_bytes_cost(piece: bytes) -> None:
    """Ten times the bytes are ten times the work, in one piece or in many."""

    def cost(count: int, cut: int) -> int:
        decoder, data = ResizeDecoder(), piece * count
        pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
        return work(lambda: [decoder.receive_data(p) for p in pieces])

    for cut in (1, 1 << 20):
        assert cost(1000, cut) <= 11 * cost(100, cut) + 500
