"""Stop signals by number, by name and as CRI's enum."""

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri
from crishim.signals import from_cri, parse, to_cri

NAMED = [v for v in cri.Signal.values() if v != cri.SIGNAL_RUNTIME_DEFAULT]


@pytest.mark.parametrize("value", NAMED)
def test_the_whole_enum(value: "cri.Signal.ValueType") -> None:
    """Each value has a Linux number, which leads back to it or to a synonym of it."""
    number = from_cri(value)
    assert 1 <= number <= 64
    assert from_cri(to_cri(number)) == number


def test_the_default() -> None:
    """RUNTIME_DEFAULT is no signal; a number without a name is RUNTIME_DEFAULT."""
    assert from_cri(cri.SIGNAL_RUNTIME_DEFAULT) == 0
    for number in (0, 32, 33, 65, -1):
        assert to_cri(number) == cri.SIGNAL_RUNTIME_DEFAULT


@pytest.mark.parametrize("number", [n for n in range(1, 65) if n not in (32, 33)])
def test_every_number_has_a_value(number: int) -> None:
    """All of Linux's signals but the two the C library keeps are in the enum."""
    assert from_cri(to_cri(number)) == number


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("SIGTERM", 15),
        ("TERM", 15),
        ("term", 15),
        ("sigterm", 15),
        (" TERM ", 15),
        ("9", 9),
        ("64", 64),
        ("SIGRTMIN", 34),
        ("RTMIN+3", 37),
        ("SIGRTMINPLUS3", 37),
        ("SIGRTMAX-2", 62),
        ("RTMAXMINUS2", 62),
        ("SIGRTMAX", 64),
        ("SIGIOT", 6),
        ("SIGCLD", 17),
        ("SIGPOLL", 29),
        ("SIGSTKFLT", 16),
        ("SIGWINCH", 28),
    ],
)
def test_names(name: str, number: int) -> None:
    """As images write them."""
    assert parse(name) == number


@pytest.mark.parametrize("signum", list(signal.Signals))
def test_pythons_names(signum: signal.Signals) -> None:
    """Every name Python knows has the number it has there."""
    if signum.name not in ("SIGRTMIN", "SIGRTMAX"):
        assert parse(signum.name) == signum.value


@pytest.mark.parametrize(
    "name",
    ["", "0", "65", "-9", "SIG", "SIGNOPE", "RTMIN+31", "RTMAX+1", "RTMIN-1", "RTMIN+", "9.0", "SIGSIGTERM", "\u0669"],
)
def test_what_is_no_signal(name: str) -> None:
    """INVALID names it."""
    with pytest.raises(CrishimError) as caught:
        parse(name)
    assert caught.value.kind is Kind.INVALID
    assert repr(name) in caught.value.message


@given(st.text(max_size=20))
def test_any_text(text: str) -> None:
    """A number from 1 to 64, or INVALID."""
    try:
        number = parse(text)
    except CrishimError as error:
        kind = error.kind
        assert kind is Kind.INVALID
    else:
        assert 1 <= number <= 64
