"""Lifetimes of addresses and routes after a while: never longer than they were, gone when they ended."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from crishim.linux.netlink import addresses, routes
from crishim.linux.netlink.addresses import FOREVER, IFA_CACHEINFO, IFA_F_PERMANENT, Address
from crishim.linux.netlink.links import AF_INET6
from crishim.linux.netlink.routes import Route
from crishim.linux.netlink.rtnetlink import attribute, attributes

SECONDS = st.integers(0, 2**31)


def address(preferred: int, valid: int, flags: int = 0) -> Address:
    cache = struct.pack("=IIII", preferred, valid, 1, 2)
    body = attribute(1, bytes(15) + b"\1") + attribute(IFA_CACHEINFO, cache)
    return Address(family=AF_INET6, prefix=64, scope=0, flags=flags, attributes=body)


@given(SECONDS | st.just(FOREVER), SECONDS | st.just(FOREVER), SECONDS)
def test_addresses(preferred: int, valid: int, away: int) -> None:
    later = addresses.aged(address(preferred, valid), away)
    if valid != FOREVER and valid <= away:
        assert later is None
        return
    assert later is not None
    left = struct.unpack_from("=II", dict(attributes(later.attributes))[IFA_CACHEINFO])
    assert left[0] == (FOREVER if preferred == FOREVER else max(0, preferred - away))
    assert left[1] == (FOREVER if valid == FOREVER else valid - away)


@given(SECONDS, SECONDS, SECONDS)
def test_a_permanent_address_is_left_alone(preferred: int, valid: int, away: int) -> None:
    permanent = address(preferred, valid, IFA_F_PERMANENT)
    assert addresses.aged(permanent, away) is permanent


@given(st.integers(0, 2**31 // 100 - 1), st.integers(0, 2**31))
def test_routes(expires: int, away: int) -> None:
    """rta_expires is in ticks; the request takes seconds."""
    cache = struct.pack("=IIiI", 0, 0, expires * routes.TICKS, 0) + bytes(16)
    route = Route(header=bytes([AF_INET6]) + bytes(11), attributes=attribute(routes.RTA_CACHEINFO, cache))
    later = routes.aged(route, away)
    if expires == 0:
        assert later is route
    elif expires <= away:
        assert later is None
    else:
        assert later is not None
        fields = dict(attributes(later.attributes))
        assert struct.unpack("=I", fields[routes.RTA_EXPIRES]) == (expires - away,)
        assert routes.RTA_CACHEINFO not in fields
