"""crishim/cri/stream/websocket/channel_codec.py"""

import base64
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.cri.stream.remotecommand.protocol import V1, V4, V5
from crishim.cri.stream.websocket.channel_codec import (
    BASE64_V1,
    BASE64_V4,
    PORT_FORWARD,
    REMOTE_COMMAND,
    BadChannelMessage,
    ChannelClosed,
    ChannelCodec,
    ChannelData,
    select,
)

ALL = ["", V1, V4, V5, BASE64_V1, BASE64_V4]


def test_selection_follows_the_client() -> None:
    """The first known name wins, no name means the oldest form, unknown names only are refused."""
    assert select([V5, V4], REMOTE_COMMAND) == V5
    assert select(["x", BASE64_V4], PORT_FORWARD) == BASE64_V4
    assert select([], REMOTE_COMMAND) == ""
    assert select(["x"], REMOTE_COMMAND) is None


@given(st.sampled_from(ALL), st.integers(0, 4), st.binary(min_size=1, max_size=100), st.lists(st.integers(0, 150)))
def test_messages_round_trip_in_fragments(name: str, channel: int, data: bytes, cuts: list[int]) -> None:
    """What one end encodes the other decodes, in however many fragments it comes."""
    codec = ChannelCodec(name)
    message = codec.encode(channel, data)
    bounds = [0, *sorted(min(c, len(message)) for c in cuts), len(message)]
    parts = [message[a:b] for a, b in itertools.pairwise(bounds)]
    events = []
    for number, part in enumerate(parts):
        events += codec.receive(part, first=number == 0, last=number == len(parts) - 1)
    assert b"".join(e.data for e in events if isinstance(e, ChannelData)) == data
    assert {e.channel for e in events} == {channel}


def test_bytes_of_both_forms() -> None:
    """A number byte and the data, or a digit and base64."""
    assert ChannelCodec(V4).encode(1, b"hi") == b"\x01hi"
    assert ChannelCodec(BASE64_V4).encode(1, b"hi") == b"1" + base64.b64encode(b"hi")


def test_version_5_closes_channels() -> None:
    """255 and a number close that channel; in older versions 255 is just a channel nobody has."""
    assert ChannelCodec(V5).receive(b"\xff\x00", first=True, last=True) == [ChannelClosed(0)]
    assert ChannelCodec(V4).receive(b"\xff\x00", first=True, last=True) == [ChannelData(255, b"\x00")]
    with pytest.raises(BadChannelMessage):
        ChannelCodec(V5).receive(b"\xff", first=True, last=True)
    with pytest.raises(BadChannelMessage):
        ChannelCodec(V5).receive(b"\xff\x00\x01", first=True, last=True)


def test_empty_messages_mean_nothing() -> None:
    """Neither an empty message nor one with a channel and no data is an event."""
    codec = ChannelCodec(V4)
    assert codec.receive(b"", first=True, last=True) == []
    assert codec.receive(b"\x00", first=True, last=True) == []


@given(st.sampled_from(ALL), st.binary(max_size=60))
def test_garbage_is_data_or_refused(name: str, payload: bytes) -> None:
    """Any message gives events or BadMessage."""
    try:
        ChannelCodec(name).receive(payload, first=True, last=True)
    except BadChannelMessage:
        return


def test_broken_base64_is_refused() -> None:
    """A base64 message that is not base64 ends the session."""
    with pytest.raises(BadChannelMessage):
        ChannelCodec(BASE64_V1).receive(b"0!!!!", first=True, last=True)
