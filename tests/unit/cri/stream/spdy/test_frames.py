"""crishim/cri/stream/spdy/frames.py"""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.cri.stream.spdy.frames import (
    MAX_CONTROL,
    BadSpdyFrame,
    Data,
    Frame,
    FrameWriter,
    GoAway,
    HeadersFrame,
    Ping,
    RstStream,
    Settings,
    SpdyFrameReader,
    SynReply,
    SynStream,
    Unknown,
    WindowUpdate,
)
from crishim.cri.stream.spdy.headers import BadHeaderBlock

ids = st.integers(1, 0x7FFFFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
headers = st.dictionaries(st.sampled_from(["streamtype", "port", "requestid"]), st.text(max_size=10))
frames = st.one_of(
    st.builds(SynStream, ids, headers, st.booleans(), st.booleans()),
    st.builds(SynReply, ids, headers, st.booleans()),
    st.builds(HeadersFrame, ids, headers, st.booleans()),
    st.builds(RstStream, ids, u32),
    st.builds(Settings, st.dictionaries(st.integers(0, 0xFFFFFF), u32, max_size=4)),
    st.builds(Ping, u32),
    st.builds(GoAway, u32, u32),
    st.builds(WindowUpdate, st.integers(0, 0x7FFFFFFF), st.integers(0, 0x7FFFFFFF)),
    st.builds(Data, ids, st.binary(max_size=50), st.booleans()),
)


def read_all(reader: SpdyFrameReader) -> list[Frame]:
    found = []
    while (frame := reader.next_frame()) is not None:
        found.append(frame)
    return found


def joined(found: list[Frame]) -> list[Frame]:
    """Parts of one data frame put together again, as far as the parts tell."""
    whole: list[Frame] = []
    for frame in found:
        last = whole[-1] if whole else None
        if isinstance(frame, Data) and isinstance(last, Data) and last.stream == frame.stream and not last.fin:
            whole[-1] = Data(frame.stream, last.data + frame.data, frame.fin)
        elif frame != Data(getattr(frame, "stream", 0), b"", False):
            whole.append(frame)
    return whole


@given(st.lists(frames, max_size=12))
def test_frames_round_trip_byte_by_byte(sent: list[Frame]) -> None:
    """Frames fed one byte at a time come out as they went in."""
    writer, reader = FrameWriter(), SpdyFrameReader()
    found = []
    for byte in b"".join(writer.write(f) for f in sent):
        reader.receive_data(bytes([byte]))
        found += read_all(reader)
    assert joined(found) == joined(sent)


def test_bytes_of_a_ping() -> None:
    """The layout is the draft's: control bit, version 3, type 6, no flags, four bytes."""
    assert FrameWriter().write(Ping(2)) == bytes.fromhex("80030006 00000004 00000002")


def test_bytes_of_data() -> None:
    """A data frame: stream id, FIN flag, length, payload."""
    assert FrameWriter().write(Data(5, b"hi", True)) == bytes.fromhex("00000005 01000002 6869")


def test_a_huge_data_frame_is_never_buffered() -> None:
    """The parts of a 16 MiB frame are handed on as they come, and only the last one is final."""
    reader = SpdyFrameReader()
    reader.receive_data(struct.pack(">II", 1, 1 << 24 | 0xFFFFFF) + b"x" * 10)
    assert read_all(reader) == [Data(1, b"x" * 10, False)]
    reader.receive_data(b"y" * (0xFFFFFF - 10))
    assert [(len(f.data), f.fin) for f in read_all(reader) if isinstance(f, Data)] == [(0xFFFFFF - 10, True)]


def test_unknown_control_frames_are_passed_over() -> None:
    """A frame of an unknown type says only that it was one, and does not disturb the next."""
    reader = SpdyFrameReader()
    reader.receive_data(bytes.fromhex("800300630000000212ab") + FrameWriter().write(Ping(9)))
    assert read_all(reader) == [Unknown(99), Ping(9)]


@pytest.mark.parametrize(
    "raw",
    [
        "80020006 00000004 00000002",  # version 2
        "80030006 00000005 0000000200",  # PING of five bytes
        "80030007 00000004 00000000",  # GOAWAY of four bytes
        "80030003 00000008 0000000000000001",  # RST_STREAM of stream 0
        "00000000 00000001 00",  # data of stream 0
        "80030004 00000004 00000009",  # SETTINGS that claims nine entries
        "80030001 00000004 00000001",  # SYN_STREAM too short
        f"80030006 00{MAX_CONTROL + 1:06x}",  # a control frame above the limit, refused at its head
    ],
)
def test_broken_frames_are_refused(raw: str) -> None:
    """A frame whose length or content contradicts its type raises BadFrame."""
    reader = SpdyFrameReader()
    reader.receive_data(bytes.fromhex(raw))
    with pytest.raises(BadSpdyFrame):
        read_all(reader)


@given(st.binary(max_size=300))
def test_garbage_never_surprises(data: bytes) -> None:
    """Any bytes give frames, a need for more, or one of two errors."""
    reader = SpdyFrameReader()
    reader.receive_data(data)
    with contextlib.suppress(BadSpdyFrame, BadHeaderBlock):
        read_all(reader)
