"""Per-device settings: what differs, and what is never written."""

from crishim.linux import devconf
from crishim.linux.devconf import IPV6_NAMES, Devconf
from crishim.linux.netlink.links import AF_INET, AF_INET6
from crishim.linux.netlink.rtnetlink import attribute, nested


def test_parse_reads_both_families() -> None:
    """IPv4's array begins with id 1, IPv6's with 0; the mode is a byte; a missing family is empty."""
    ipv4 = nested(AF_INET, attribute(1, b"\1\0\0\0\2\0\0\0"))
    ipv6 = nested(AF_INET6, attribute(2, b"\xff\xff\xff\xff"), attribute(8, b"\3"))
    assert devconf.parse(ipv4 + ipv6) == Devconf((1, 2), (-1,), 3)
    assert devconf.parse(b"") == Devconf()


def test_only_differences_are_written() -> None:
    """IPv4 by id without the read-only mc_forwarding, IPv6 by file name without what has none."""
    now = Devconf((0, 0, 0), (0, 64, 1500, 1))
    wanted = Devconf((1, 1, 0), (0, 33, 1280, 0))
    assert devconf.ipv4_changes(now, wanted) == [(1, 1)]
    assert devconf.ipv6_changes(now, wanted) == [("hop_limit", 33), ("accept_ra", 0)]
    assert devconf.ipv4_changes(now, now) == []
    assert devconf.ipv6_changes(now, now) == []


def test_a_kernel_with_more_or_fewer_settings() -> None:
    """Ids one side does not have are left alone."""
    assert devconf.ipv4_changes(Devconf((0,)), Devconf((0, 9, 9))) == []
    assert devconf.ipv6_changes(Devconf((), (0,) * 99), Devconf((), (0,) * 98 + (1,))) == []
    assert devconf.ipv6_value(Devconf((), (0, 1, 2, 3)), "accept_ra") == 3
    assert devconf.ipv6_value(Devconf(), "accept_ra") is None


def test_names_are_unique() -> None:
    """No setting is listed twice."""
    known = [name for name in IPV6_NAMES if name]
    assert len(known) == len(set(known))
