"""IFLA_VFINFO_LIST: whatever a driver tells is split by function, and never fails."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from crishim.linux.netlink import vf_settings as wire
from crishim.linux.netlink.rtnetlink import attribute, nested, table

VALUES = st.dictionaries(st.integers(14, 60), st.binary(min_size=4, max_size=40), max_size=5)


@given(st.lists(VALUES, max_size=6), st.integers(0, 7))
def test_one_of_many(functions: list[dict[int, bytes]], number: int) -> None:
    """Those of the function asked for, as they came; none of a function that is not there."""
    infos = [
        nested(
            wire.IFLA_VF_INFO,
            attribute(wire.IFLA_VF_MAC, struct.pack("=I32s", n, bytes(6))),
            *(attribute(k, v) for k, v in values.items()),
        )
        for n, values in enumerate(functions)
    ]
    found = table(wire.parse(b"".join(infos), number))
    mac = found.pop(wire.IFLA_VF_MAC, None)
    assert found == (functions[number] if number < len(functions) else {})
    assert (mac is not None) == (number < len(functions))


@given(st.binary(max_size=300), st.integers(0, 3))
def test_any_bytes(data: bytes, number: int) -> None:
    assert wire.changes(b"", wire.parse(data, number)) == list(table(wire.parse(data, number)).items())


@given(VALUES, VALUES)
def test_changes(now: dict[int, bytes], wanted: dict[int, bytes]) -> None:
    """What has another value now, or none; what is new is left."""
    packed = [b"".join(attribute(k, v) for k, v in each.items()) for each in (now, wanted)]
    assert dict(wire.changes(*packed)) == {k: v for k, v in wanted.items() if now.get(k) != v}
