"""Links that appear on the host: which are told of."""

import pytest

from crishim.device_rules import Rule
from crishim.linux.netlink.links import IFF_LOOPBACK, Link
from crishim.netdev.arrivals import Arrivals
from crishim.netdev.policy import Policy
from tests.unit.netdev.fake_links import veth

VETHS = Policy([Rule(devices=["data*"], namespaces=["*"])])
CARD = Link(index=9, name="ens5", bus="pci")


def told(arrivals: Arrivals, link: Link, caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    caplog.clear()
    with caplog.at_level("INFO"):
        arrivals.note(link)
    return [{key: vars(r)[key] for key in ("device", "kind", "ifindex", "rules")} for r in caplog.records]


def test_hardware_and_what_a_rule_gives(caplog: pytest.LogCaptureFixture) -> None:
    """With the rules that give it; nothing of other links, of lo, of our own on their way home, of any link twice."""
    arrivals = Arrivals(VETHS)
    arrivals.read([veth(1, "data1")])
    rule = ["netdevices.allow[0]"]
    assert told(arrivals, CARD, caplog) == [{"device": "ens5", "kind": "physical", "ifindex": 9, "rules": []}]
    assert told(arrivals, CARD, caplog) == []
    assert told(arrivals, veth(2, "data2"), caplog) == [
        {"device": "data2", "kind": "veth", "ifindex": 2, "rules": rule}
    ]
    assert told(arrivals, veth(3, "vethab12"), caplog) == []
    assert told(arrivals, veth(4, "data4", altnames=("crishim-0123",)), caplog) == []
    assert told(arrivals, Link(index=5, name="lo", flags=IFF_LOOPBACK), caplog) == []


def test_what_was_there_at_first(caplog: pytest.LogCaptureFixture) -> None:
    """Is no arrival; neither is anything before that is known. One that goes and comes again is."""
    arrivals = Arrivals(VETHS)
    assert told(arrivals, veth(7, "data7"), caplog) == []
    arrivals.gone(veth(7, "data7"))
    arrivals.read([veth(1, "data1")])
    assert told(arrivals, veth(1, "data1"), caplog) == []
    arrivals.gone(veth(1, "data1"))
    assert len(told(arrivals, veth(1, "data1"), caplog)) == 1


def test_what_was_missed(caplog: pytest.LogCaptureFixture) -> None:
    """A later reading tells of what has come, and forgets what has gone."""
    arrivals = Arrivals(VETHS)
    arrivals.read([veth(1, "data1"), veth(2, "data2")])
    with caplog.at_level("INFO"):
        arrivals.read([veth(2, "data2"), veth(3, "data3")])
    assert [vars(r)["device"] for r in caplog.records] == ["data3"]
    assert len(told(arrivals, veth(1, "data1"), caplog)) == 1
