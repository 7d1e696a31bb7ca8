"""crishim/cri/stream/portforward/protocol.py"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.cri.stream.portforward.protocol import BadStream, Pair, Pairing, parse_port


def headers(kind: str, port: str = "80", request: str = "7") -> dict[str, str]:
    return {"streamtype": kind, "port": port, "requestid": request}


@pytest.mark.parametrize("kinds", [("error", "data"), ("data", "error")])
def test_a_pair_in_either_order(kinds: tuple[str, str]) -> None:
    """Error and data of one request are a pair, whichever comes first."""
    pairing = Pairing()
    assert pairing.stream_opened(1, headers(kinds[0])) is None
    assert pairing.waits(1)
    pair = pairing.stream_opened(3, headers(kinds[1]))
    assert pair is not None
    assert {pair.data, pair.error} == {1, 3}
    assert pair.port == 80
    assert not pairing.waits(1)


def test_requests_do_not_mix() -> None:
    """Halves of different requests do not pair, however they interleave."""
    pairing = Pairing()
    for stream, request in ((1, "a"), (3, "b")):
        assert pairing.stream_opened(stream, headers("error", request=request)) is None
    assert pairing.stream_opened(5, headers("data", request="b")) == Pair(80, 5, 3)
    assert pairing.stream_opened(7, headers("data", request="a")) == Pair(80, 7, 1)


def test_clients_without_request_ids() -> None:
    """An old client opens error and then data with the next id."""
    pairing = Pairing()
    assert pairing.stream_opened(1, {"streamtype": "error", "port": "80"}) is None
    assert pairing.stream_opened(3, {"streamtype": "data", "port": "80"}) == Pair(80, 3, 1)


def test_a_half_that_is_gone_is_forgotten() -> None:
    """A request id can be used again after its half has ended, and after its pair was complete."""
    pairing = Pairing()
    pairing.stream_opened(1, headers("error"))
    with pytest.raises(BadStream):
        pairing.stream_opened(3, headers("error"))
    pairing.stream_gone(1)
    assert pairing.stream_opened(5, headers("error")) is None
    assert pairing.stream_opened(7, headers("data")) == Pair(80, 7, 5)
    assert pairing.stream_opened(9, headers("data")) is None


@pytest.mark.parametrize("port", ["", "0", "65536", "-1", "+80", "80 ", "8o", "٣", "999999999999"])
def test_what_is_no_port(port: str) -> None:
    """Only decimal numbers from 1 to 65535 are ports."""
    with pytest.raises(BadStream):
        parse_port(port)


@given(st.dictionaries(st.sampled_from(["streamtype", "port", "requestid"]), st.text(max_size=8)))
def test_any_headers_are_a_half_or_refused(found: dict[str, str]) -> None:
    """Whatever a client sends, the answer is a half, a pair or BadStream."""
    try:
        assert Pairing().stream_opened(1, found) is None
    except BadStream:
        return
