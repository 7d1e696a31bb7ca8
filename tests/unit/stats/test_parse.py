"""The kernel's text formats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.stats import parse
from crishim.stats.measurements import Interface, Io, Pressure, Stall
from tests.unit.stats.recorded import NET_DEV, V1, V2


def test_flat_keys_skip_what_is_no_number() -> None:
    """Lines with anything but one number are skipped."""
    assert parse.keys(b"a 1\nb max\nc\n\nd 4 5\ne 18446744073709551615\n") == {b"a": 1, b"e": 2**64 - 1}


@pytest.mark.parametrize(
    ("text", "limit"),
    [(b"max\n", None), (b"9223372036854771712\n", None), (b"0\n", 0), (b"4096\n", 4096), (None, None), (b"", None)],
)
def test_limits(text: bytes | None, limit: int | None) -> None:
    """ "max" and v1's number near 2^63 mean unlimited; 0 is a limit."""
    assert parse.limit(text) == limit


def test_a_missing_number_is_zero() -> None:
    """A file that is not there counts nothing."""
    assert (parse.number(None), parse.number(b"7\n"), parse.number(b"x")) == (0, 7, 0)


def test_pressure_totals_are_nanoseconds() -> None:
    """The kernel writes microseconds, the CRI wants nanoseconds."""
    assert parse.pressure(V2["unified/cpu.pressure"]) == Pressure(
        some=Stall(12.5, 3.1, 0.75, 48211903000), full=Stall(1.25, 0.31, 0.07, 4100222000)
    )


def test_pressure_without_a_full_line() -> None:
    """Older kernels have no `full` for CPU: it is zero then."""
    assert parse.pressure(V1["unified/cpu.pressure"]) == Pressure(some=Stall(1.0, 2.0, 3.0, 9000), full=Stall())


@pytest.mark.parametrize("text", [None, b"", b"nonsense\n", b"some avg10=x avg60=0 avg300=0 total=0\n"])
def test_no_pressure(text: bytes | None) -> None:
    """Where PSI is absent or unreadable there is no pressure, rather than one of zero."""
    assert parse.pressure(text) is None


def test_io_of_v2() -> None:
    """Bytes and operations by device and direction; a device without figures is skipped or zero."""
    found = parse.io_stat(V2["unified/io.stat"])
    assert Io(8, 0, "Read", 4096000, 1000) in found
    assert Io(8, 0, "Discard", 512, 1) in found
    assert Io(253, 1, "Write", 200, 4) in found


def test_io_of_v1_joins_bytes_and_operations() -> None:
    """The two files of v1 become one entry an operation; sums are left out."""
    pair = [V1[f"blkio/blkio.throttle.{name}_recursive"] for name in ("io_service_bytes", "io_serviced")]
    assert parse.blkio(*pair) == [Io(8, 0, "Read", 4096, 2), Io(8, 0, "Write", 1024, 1), Io(8, 0, "Discard", 0, 0)]


def test_interfaces() -> None:
    """lo is left out; a name may touch its first counter and hold a dot; 64-bit counters fit."""
    assert parse.interfaces(NET_DEV) == [
        Interface("eth0", 910, 7, 1, 2, 442, 5, 3, 4),
        Interface("net1.5", 10, 2, 0, 0, 2**64 - 1, 3, 0, 0),
    ]


@given(st.binary(max_size=400))
def test_nothing_crashes_a_parser(text: bytes) -> None:
    """Whatever a kernel of the future writes, the parsers answer."""
    parse.keys(text)
    parse.number(text)
    parse.limit(text)
    parse.pressure(text)
    parse.io_stat(text)
    parse.blkio(text, text)
    parse.interfaces(b"\n\n" + text)
