"""crishim/cri/stream/remotecommand/protocol.py"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.cri.stream.remotecommand.protocol import (
    SPDY_VERSIONS,
    V1,
    V2,
    V3,
    V4,
    V5,
    Outcome,
    ResizeDecoder,
    Size,
    StreamOptions,
    negotiate,
)


def test_the_clients_order_decides() -> None:
    """The first version of the client's that we have is taken; client-go offers 5 first even over SPDY."""
    assert negotiate([V5, V4, V3], SPDY_VERSIONS) == V4
    assert negotiate([V1, V4], SPDY_VERSIONS) == V1
    assert negotiate(["v9.channel.k8s.io"], SPDY_VERSIONS) is None


def test_the_streams_a_client_opens() -> None:
    """What was asked for, always error, and resize for a terminal from version 3 on."""
    shell = StreamOptions(stdin=True, stdout=True, stderr=False, tty=True)
    assert shell.streams(V2) == {"stdin", "stdout", "error"}
    assert shell.streams(V3) == {"stdin", "stdout", "error", "resize"}
    assert StreamOptions(stdin=False, stdout=True, stderr=True, tty=False).streams(V4) == {"stdout", "stderr", "error"}


def test_an_exit_code_is_a_status_from_version_4_on() -> None:
    """Reason NonZeroExitCode, and a cause whose reason is ExitCode and whose message is the number."""
    status = json.loads(Outcome(exit_code=42).report(V4))
    assert (status["status"], status["reason"]) == ("Failure", "NonZeroExitCode")
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "42"}]
    assert b"42" in Outcome(exit_code=42).report(V2)


def test_success_is_a_status_too_but_no_text() -> None:
    """Before version 4 an empty error stream means success: any byte would be an error."""
    assert json.loads(Outcome().report(V4))["status"] == "Success"
    assert Outcome().report(V1) == Outcome().report(V3) == b""


def test_an_error_has_its_text() -> None:
    """A command that could not be executed: InternalError with the reason."""
    status = json.loads(Outcome(error="no such file").report(V5))
    assert (status["status"], status["reason"], status["code"]) == ("Failure", "InternalError", 500)
    assert "no such file" in status["message"]
    assert b"no such file" in Outcome(error="no such file").report(V1)


@given(st.lists(st.tuples(st.integers(1, 65535), st.integers(1, 65535)), max_size=5), st.integers(1, 50))
def test_sizes_survive_any_cut(sizes: list[tuple[int, int]], step: int) -> None:
    """JSON objects one after another, with or without newlines, in pieces of any length."""
    text = "\n".join(json.dumps({"Width": w, "Height": h}) for w, h in sizes).encode()
    decoder = ResizeDecoder()
    found = [s for at in range(0, len(text), step) for s in decoder.receive_data(text[at : at + step])]
    assert found == [Size(w, h) for w, h in sizes]


@pytest.mark.parametrize(
    "text",
    [b"[]", b"{}", b'{"Width": 0, "Height": 1}', b'{"Width": -1, "Height": 1}', b'{"Width": 70000, "Height": 1}',
     b'{"Width": "8", "Height": 1}', b"null", b'"x"'],
)  # fmt: skip
def test_nonsense_sizes_are_dropped(text: bytes) -> None:
    """A size that is none does not end a session, and the next one counts."""
    decoder = ResizeDecoder()
    assert decoder.receive_data(text + b'{"Width": 8, "Height": 9}') == [Size(8, 9)]


@given(st.binary(max_size=300))
def test_garbage_is_no_error(data: bytes) -> None:
    """Any bytes on the resize stream give sizes or nothing."""
    decoder = ResizeDecoder()
    assert all(isinstance(s, Size) for s in decoder.receive_data(data))


def test_an_endless_object_is_not_kept() -> None:
    """A resize stream cannot grow our memory."""
    decoder = ResizeDecoder()
    for _ in range(1000):
        assert decoder.receive_data(b'{"Width": 1, "x": "' + b"y" * 1000) == []
    assert len(decoder._carry) < 10_000
