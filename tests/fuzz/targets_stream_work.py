"""What a streaming client's bytes may cost: so many instructions for each byte, whatever came before.

Random bytes seldom are frames, so here a program of four bytes an instruction is translated to frames: streams opened,
reset and used in any order, windows, settings, pings. Counting is slow (tests/fuzz/work.py): one input in SAMPLE is
counted, chosen by its checksum.
"""

import zlib
from collections.abc import Callable
from functools import partial

from crishim.cri.stream.portforward.protocol import Pairing
from crishim.cri.stream.spdy.events import DataReceived, StreamOpened, StreamReset
from crishim.cri.stream.spdy.frames import (
    SETTING_INITIAL_WINDOW,
    Data,
    Frame,
    FrameWriter,
    GoAway,
    HeadersFrame,
    Ping,
    ResetStatus,
    RstStream,
    Settings,
    SynReply,
    SynStream,
    WindowUpdate,
)
from crishim.cri.stream.spdy.session import SpdySession
from crishim.cri.stream.spdy.state import FlowControl, Role
from tests.fuzz import targets_streams
from tests.fuzz.work import work

SAMPLE = 8
A_BYTE, CONSTANT = 500, 50_000  # instructions; of whole frames, which are long, there are A_LONG_BYTE
A_LONG_BYTE = 60


def spdy_frames(data: bytes) -> None:
    """A server's session under any sequence of frames: its count of streams is right, and their windows add up."""
    session, writer, pairing = SpdySession(Role.SERVER, flow_control=FlowControl.LEARNED), FrameWriter(), Pairing()
    sent = b"".join(writer.write(frame) for frame in frames(data))
    _bounded(partial(_receive, session, pairing, sent), len(sent) * A_LONG_BYTE, data)
    if session.failed:
        return
    assert session._remote_open == sum(1 for stream in session._streams if stream % 2)
    assert set(pairing._request) <= session._streams.keys()
    for stream in session._streams:
        assert not session.held_by_session(stream) or session.sendable(stream) == 0


def frames(program: bytes) -> list[Frame]:
    """Four bytes a frame: its kind, a stream, a number."""
    return [_frame(*program[at : at + 4]) for at in range(0, len(program) - 3, 4)]


def _frame(kind: int, a: int, b: int, c: int) -> Frame:
    stream, number = 2 * a + 1, b << 8 | c
    match kind % 10:
        case 0:
            return SynStream(stream, {"streamtype": ("data", "error")[b % 2], "port": "80", "requestid": str(c)})
        case 1:
            return SynStream(stream, {"x": "y" * number}, fin=bool(b & 1), unidirectional=bool(b & 2))
        case 2:
            return RstStream(stream, ResetStatus.CANCEL)
        case 3:
            return Data(stream, bytes(number), bool(c & 1))
        case 4:
            return WindowUpdate(stream if b else 0, number << 8)
        case 5:
            return Settings({SETTING_INITIAL_WINDOW: number << (a % 16)})
        case 6:
            return Ping(number)
        case 7:
            return HeadersFrame(stream, {"a": "b" * c}, fin=bool(b & 1))
        case 8:
            return SynReply(stream, {})
    return GoAway(stream, 0)


def _receive(session: SpdySession, pairing: Pairing, sent: bytes) -> None:
    session.feed(sent)
    while (events := session.next_events()) is not None:
        for event in events:
            match event:
                case StreamOpened(stream, headers):
                    targets_streams._answer(session, pairing, stream, headers)
                case StreamReset(stream, _):
                    pairing.stream_gone(stream)
                case DataReceived(stream, received):
                    session.consumed(stream, len(received))


def _bounded(run: Callable[[], object], most: int, data: bytes) -> None:
    """Run, and of one input in SAMPLE count the instructions."""
    if zlib.crc32(data) % SAMPLE:
        run()
        return
    cost = work(run)
    assert cost <= most + CONSTANT, f"{cost} instructions, {most + CONSTANT} are allowed"


def _counted(target: Callable[[bytes], None], data: bytes) -> None:
    _bounded(partial(target, data), len(data) * A_BYTE, data)


TARGETS = {"spdy-frames": spdy_frames} | {
    f"{name}-work": partial(_counted, target) for name, target in targets_streams.TARGETS.items()
}
