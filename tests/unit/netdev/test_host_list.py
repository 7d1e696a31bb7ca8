"""What is told of every link of the host, and of a device in its pod."""

from typing import Any

import pytest

from crishim.device_rules import PHYSICAL, Rule
from crishim.linux.netlink.links import IFF_LOOPBACK, IFF_LOWER_UP, IFF_UP, Link
from crishim.netdev import host_list, link_checks
from crishim.netdev.host_list import HostLink, list_links
from crishim.netdev.link_usage import LinkUsage
from crishim.netdev.observe import Observation, observe
from crishim.netdev.policy import Grant, Policy, Terms
from crishim.netdev.records import Captured
from tests.unit.netdev.fake_addresses import FakeAddresses, address
from tests.unit.netdev.fake_links import FakeEnd, attachment, veth

ADDRESS = bytes([192, 0, 2, 7])
HELD = attachment(host=Captured(index=9, name="demo9", altnames=("also",)))
LOST = attachment(id="f" * 16, host=Captured(index=8, name="demo8", kind="veth"))
GRANT = Grant("netdevices.allow[0]", ("team",))


def told(allow: bool, monkeypatch: pytest.MonkeyPatch) -> list[HostLink]:
    """lo, a card with the node's address, and a veth that carries one altname of its own and one of ours."""
    links = (
        Link(index=1, name="lo", flags=IFF_LOOPBACK),
        Link(index=2, name="eth9"),
        veth(5, "demo0", altnames=("mine", LOST.altname)),
    )
    around = LinkUsage(addresses={2: frozenset({ADDRESS})})
    monkeypatch.setattr(host_list, "read_usage", lambda host, found: around if list(found) == list(links) else None)
    host: Any = FakeEnd(*links)
    policy = Policy([Rule(devices=["demo*", "eth9", "lo"], namespaces=["team"])])
    return list_links(host, [HELD, LOST], Terms(policy, allow, frozenset({ADDRESS})))


def test_every_link(fake_links: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why nobody gets it, or by which rule; what pods have comes last."""
    own = [x for x in link_checks.ALWAYS if x.__name__ != "_ours"]
    monkeypatch.setattr(link_checks, "ALWAYS", tuple(own))
    node = "it has the node's address 192.0.2.7"
    loopback = HostLink("lo", (), PHYSICAL, reason="it is the loopback interface")
    veth0 = HostLink("demo0", ("mine",), "veth", grants=(GRANT,))
    pods = [HostLink("demo9", ("also",), PHYSICAL, holder=HELD), HostLink("demo8", (), "veth", holder=LOST)]
    assert told(False, monkeypatch) == [loopback, HostLink("eth9", (), PHYSICAL, reason=node), veth0, *pods]
    assert told(True, monkeypatch) == [loopback, HostLink("eth9", (), PHYSICAL, root_only=node), veth0, *pods]


def test_a_device_in_its_pod(fake_links: None, fake_addresses: FakeAddresses) -> None:
    """As it is, not as it was attached; None if it is not there."""
    pod: Any = FakeEnd(veth(5, "mine", mac=b"\2\0\0\0\0\1", mtu=1390, flags=IFF_UP | IFF_LOWER_UP))
    fake_addresses.found[5] = [address("192.0.2.7/24"), address("fe80::1/64")]
    assert observe(attachment(), pod) == Observation(
        name="mine",
        index=5,
        mac="02:00:00:00:00:01",
        mtu=1390,
        is_up=True,
        has_carrier=True,
        addresses=("192.0.2.7/24", "fe80::1/64"),
    )
    pod.links.clear()
    assert observe(attachment(), pod) is None
