"""rtnetlink's answers: what is read of a message whose attributes are anything."""

import ipaddress

from crishim.linux import devconf
from crishim.linux.netlink import addresses, links, routes, rtnetlink


def messages(data: bytes) -> None:
    """A datagram splits into messages within it; an error message is an OSError or none."""
    for _, flags, _, body in rtnetlink.split(data):
        assert len(body) <= len(data)
        error = rtnetlink.failure(flags, body)
        assert error is None or isinstance(error, OSError)
    found = list(rtnetlink.attributes(data))
    assert list(rtnetlink.attributes(rtnetlink.join(found))) == found


def link(data: bytes) -> None:
    """A link, and its settings."""
    found = links.parse(data.ljust(16, b"\0"))
    settings = devconf.parse(found.settings)
    devconf.ipv4_changes(settings, devconf.Devconf())
    devconf.ipv6_value(settings, "accept_ra")


def address(data: bytes) -> None:
    """An address that has one, and what it is compared by."""
    found = addresses.parse(data.ljust(8, b"\0"))
    assert found.essence == found.essence
    assert found.label is not None
    assert found.is_automatic in (True, False)
    try:
        ipaddress.ip_address(found.ip)
    except (KeyError, ValueError):
        return  # the kernel writes none without its bytes


def route(data: bytes) -> None:
    body = data.ljust(12, b"\0")
    found = routes.Route(header=body[:12], attributes=body[12:])
    assert found.table >= 0
    assert found.links is not None
    assert found.has_gateway in (True, False)


TARGETS = {"netlink-messages": messages, "netlink-link": link, "netlink-address": address, "netlink-route": route}
