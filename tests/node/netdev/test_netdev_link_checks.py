"""What is never given, whoever asks: each reason on the real kernel, and the host as it was after the refusal."""

import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crishim.errors import CrishimError, Kind
from crishim.netdev.records import Source
from tests.node.netdev.lab import ANYTHING, Lab, request

pytestmark = pytest.mark.node
GATEWAY, GATEWAY6 = "192.0.69.1", "2001:db8:69::1"  # in demo0's networks (Lab.demo)
ADDRESS, ADDRESS6 = "192.0.69.7", "2001:db8:69::7"


def host_state(lab: Lab) -> dict[str, Any]:
    """Everything of the host's network that a refusal might touch, and that does not change by itself."""
    routes = [lab.json(f"{family} route show table all") for family in ("-4", "-6")]
    links = [
        {k: v for k, v in x.items() if k not in ("operstate", "flags", "linkmode", "qdisc")}
        for x in lab.json("link show")
    ]
    return {
        "links": links,
        "up": sorted(x["ifname"] for x in lab.json("link show") if "UP" in x["flags"]),
        "addresses": {n: lab.addresses(n) for n in sorted(lab.names())},
        "routes": [[r for r in found if "fe80" not in str(r) and "ff00" not in str(r)] for found in routes],
        "rules": [lab.ip(f"{family} rule show") for family in ("-4", "-6")],
        "demo0": lab.picture("demo0"),
    }


async def refusal(lab: Lab, device: str, terms: Any = ANYTHING, source: Source = Source.CDI) -> str:
    """Why the device is not given to a pod; the host is as it was."""
    pod = lab.pod(f"pod-{len(lab.pins)}")
    before = host_state(lab)
    driver = lab.driver(terms)
    with pytest.raises(CrishimError) as caught:
        async with await driver.plan([request(device, "net1", source)], pod, lab.kit.mover) as plan:
            await plan.begin()
    assert caught.value.kind is Kind.PRECONDITION
    assert f"device {device} cannot be given to pod {pod}: " in str(caught.value)
    assert host_state(lab) == before
    assert driver.attachments() == []
    return str(caught.value)


async def given(lab: Lab, device: str) -> None:
    """The device is given, and comes back."""
    pod = lab.pod(f"pod-{len(lab.pins)}")
    async with await lab.plan(pod, (device, "net1")) as plan:
        await plan.begin()
        await plan.verify_and_repair()
    assert lab.link("net1", pod.netns)
    await lab.devices.return_devices(pod)
    assert lab.link(device)


def nexthop(lab: Lab, words: str) -> None:
    lab.ip("nexthop add id 5 via 192.0.69.1 dev demo0")
    lab.ip("nexthop add id 6 group 5")
    lab.ip(words)


def hidden_nexthop(lab: Lab) -> None:
    lab.inside(lab.host, lambda: Path("/proc/sys/net/ipv4/nexthop_compat_mode").write_text("0"))
    nexthop(lab, "route add default nhid 6")


def by_rule(lab: Lab) -> None:
    lab.ip(f"route add default via {GATEWAY} dev demo0 table 4711")
    lab.ip("rule add fwmark 7 table 4711")


def multipath(lab: Lab) -> None:
    lab.ip("link add other0 type ifb")
    lab.ip("addr add 198.51.100.1/24 dev other0")
    lab.ip("link set other0 up")
    lab.ip(f"route add default nexthop via 198.51.100.2 dev other0 nexthop via {GATEWAY} dev demo0")


WAYS_OUT: dict[str, tuple[Callable[[Lab], None] | str, str]] = {
    "default": (f"route add default via {GATEWAY} dev demo0", "the default in table main"),
    "default metric": (f"route add default via {GATEWAY} dev demo0 metric 9000", "the default in table main"),
    "default IPv6": (f"-6 route add default via {GATEWAY6} dev demo0", "the IPv6 default in table main"),
    "table": (f"route add default via {GATEWAY} dev demo0 table 100", "the default in table 100"),
    "table IPv6": (f"-6 route add default via {GATEWAY6} dev demo0 table 100", "the IPv6 default in table 100"),
    "rule": (by_rule, "the default in table 4711"),
    "halves": (f"route add 0.0.0.0/1 via {GATEWAY} dev demo0", "0.0.0.0/1 in table main"),
    "other half": (f"route add 128.0.0.0/1 via {GATEWAY} dev demo0", "128.0.0.0/1 in table main"),
    "halves IPv6": (f"-6 route add ::/1 via {GATEWAY6} dev demo0", "::/1 in table main"),
    "other half IPv6": (f"-6 route add 8000::/1 via {GATEWAY6} dev demo0 table 7", "8000::/1 in table 7"),
    "all of IPv6": (f"-6 route add 2000::/3 via {GATEWAY6} dev demo0", "2000::/3 in table main"),
    "eighth": (f"route add 16.0.0.0/5 via {GATEWAY} dev demo0", "16.0.0.0/5 in table main"),
    "multipath": (multipath, "the default in table main"),
    "nexthop": (lambda lab: nexthop(lab, "route add default nhid 5"), "the default in table main"),
    "nexthop group": (lambda lab: nexthop(lab, "route add default nhid 6 table 9"), "the default in table 9"),
    "hidden nexthop": (hidden_nexthop, "the default in table main"),
    "on link": ("route add default dev demo0 table 12", "the default in table 12"),
}


@pytest.mark.parametrize(("prepare", "route"), WAYS_OUT.values(), ids=WAYS_OUT)
async def test_the_nodes_way_out_stays(builtin_lab: Lab, prepare: Callable[[Lab], None] | str, route: str) -> None:
    """A default route of any table, or what stands in its place. allow_node_device is for root's sources only."""
    lab = builtin_lab
    lab.demo()
    lab.ip(prepare) if isinstance(prepare, str) else prepare(lab)
    assert route in await refusal(lab, "demo0")
    lenient = ANYTHING._replace(allow_node_device=True)
    assert route in await refusal(lab, "demo0", lenient, Source.ANNOTATION)
    async with await lab.driver(lenient).plan([request("demo0", "net1", Source.CDI)], lab.pod(), lab.kit.mover):
        pass


@pytest.mark.parametrize(
    "words",
    [
        f"route add 10.0.0.0/8 via {GATEWAY} dev demo0",
        f"route add 224.0.0.0/4 via {GATEWAY} dev demo0",
        f"-6 route add fd00::/8 via {GATEWAY6} dev demo0",
        "route add blackhole default metric 7",
    ],
)
async def test_narrower_routes_do_not_hold_a_device(builtin_lab: Lab, words: str) -> None:
    """A private network, multicast, a default route that leads nowhere."""
    lab = builtin_lab
    lab.demo()
    lab.ip(words)
    await given(lab, "demo0")


@pytest.mark.parametrize("address", [ADDRESS, ADDRESS6])
async def test_the_nodes_address_stays(builtin_lab: Lab, address: str) -> None:
    """As the setting says it."""
    lab = builtin_lab
    lab.demo()
    terms = ANYTHING._replace(node_addresses=frozenset({ipaddress.ip_address(address).packed}))
    assert f"the node's address {address}" in await refusal(lab, "demo0", terms)


async def test_the_source_of_a_default_route_is_the_nodes_address(builtin_lab: Lab) -> None:
    """Also on a device that the route does not go over."""
    lab = builtin_lab
    lab.demo()
    lab.ip("link add other0 type ifb")
    lab.ip("addr add 198.51.100.1/24 dev other0")
    lab.ip("link set other0 up")
    lab.ip(f"route add default via 198.51.100.2 dev other0 src {ADDRESS}")
    assert f"it has the node's address {ADDRESS}" in await refusal(lab, "demo0")


@pytest.mark.parametrize(
    ("words", "source"),
    [
        (f"route add 10.9.0.0/16 via 198.51.100.2 dev other0 src {ADDRESS}", ADDRESS),
        (f"route add 10.9.0.0/16 via 198.51.100.2 dev other0 src {ADDRESS} table 77", ADDRESS),
        (f"-6 route add 2001:db8:9::/48 via 2001:db8:1::2 dev other0 src {ADDRESS6}", ADDRESS6),
    ],
)
async def test_a_route_that_borrows_the_address_holds_the_device(builtin_lab: Lab, words: str, source: str) -> None:
    """The kernel deletes it with the address; it is named. An address that another link has, too, is not missed."""
    lab = builtin_lab
    lab.demo()
    for line in ("link add other0 type ifb", "addr add 198.51.100.1/24 dev other0", "link set other0 up"):
        lab.ip(line)
    lab.ip("addr add 2001:db8:1::1/64 dev other0 nodad")
    lab.ip(words)
    text = await refusal(lab, "demo0")
    assert f"over other0 has its address {source} as source" in text
    assert next(word for word in words.split() if "/" in word) in text
    lab.ip(f"addr add {source}/{32 if '.' in source else 128} dev other0 {'' if '.' in source else 'nodad'}")
    await given(lab, "demo0")
