"""Addresses in the pod: acceptance cases 10 to 12, under every mover."""

from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute

from tests.node.netdev.lab import Lab, can_bind, getifaddrs_names, siocgifaddr
from tests.support.eventually import eventually

pytestmark = pytest.mark.node


def flags(address: dict[str, Any]) -> set[str]:
    return {k for k in ("tentative", "dadfailed", "nodad", "noprefixroute", "dynamic") if address.get(k)}


@pytest.mark.parametrize("carrier", [True, False])
async def test_verified_addresses_are_usable_at_once(lab: Lab, carrier: bool) -> None:
    """IPv4 and IPv6 are there, not tentative and bindable when the container starts, also without carrier (10)."""
    before = lab.demo()
    ipv6 = next(a["local"] for a in before["addresses"] if a["family"] == "inet6")
    lab.ip("addr add 127.0.0.33/32 dev demo0 scope host")
    if not carrier:
        lab.ip("link set demo0-peer down")
    before = lab.picture("demo0")
    pod = lab.pod()
    (attached,) = await lab.attach(pod, ("demo0", "net1"))
    present = lab.addresses("net1", pod.netns)
    assert {a["family"] for a in present} == {"inet", "inet6"}
    assert not any(flags(a) & {"tentative", "dadfailed"} for a in present)
    assert all(a["local"] != "127.0.0.33" for a in present)
    assert lab.inside(pod.netns, lambda: can_bind(ipv6))
    assert attached.warnings == ()
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before
    assert not any(flags(a) & {"nodad", "tentative"} for a in lab.addresses("demo0") if a["local"] != ipv6)


async def test_nodad_is_taken_off_again_on_the_host(lab: Lab) -> None:
    """An address without nodad on the host comes back without it, verified, and is not detected anew (10)."""
    lab.demo()
    lab.inside(lab.host, lambda: _write("demo0", "accept_dad", "0"))  # a quick way to a verified address
    lab.ip("addr add 2001:db8:ff::1/64 dev demo0")
    lab.inside(lab.host, lambda: _write("demo0", "accept_dad", "1"))
    await eventually(lambda: not any(flags(a) & {"tentative"} for a in lab.addresses("demo0")))
    before = lab.picture("demo0")
    address = next(a for a in lab.addresses("demo0") if a["local"] == "2001:db8:ff::1")
    assert not flags(address)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before
    assert not flags(next(a for a in lab.addresses("demo0") if a["local"] == "2001:db8:ff::1"))


def _write(link: str, name: str, value: str) -> None:
    Path(f"/proc/sys/net/ipv6/conf/{link}/{name}").write_text(value)


async def test_an_unverified_address_is_waited_for(lab: Lab) -> None:
    """An address that was tentative on the host keeps its detection, and has passed it when the container starts."""
    lab.demo()
    lab.ip("addr add 2001:db8:ff::1/64 dev demo0")
    pod = lab.pod()
    (attached,) = await lab.attach(pod, ("demo0", "net1"))
    address = next(a for a in lab.addresses("net1", pod.netns) if a["local"] == "2001:db8:ff::1")
    assert not flags(address)
    assert attached.warnings == ()
    await lab.devices.return_devices(pod)


async def test_a_tentative_address_without_carrier_is_said(lab: Lab) -> None:
    """Detection never ends without carrier: a warning names the address, and nothing waits for it (10)."""
    lab.demo()
    lab.ip("link set demo0-peer down")
    lab.ip("addr add 2001:db8:ff::1/64 dev demo0")
    pod = lab.pod()
    (attached,) = await lab.attach(pod, ("demo0", "net1"))
    assert len(attached.warnings) == 1
    assert "2001:db8:ff::1/64" in attached.warnings[0]
    assert "carrier" in attached.warnings[0]
    await lab.devices.return_devices(pod)


async def test_a_failed_detection_is_said(lab: Lab) -> None:
    """An address that was dadfailed on the host is tried again, and both is said (10)."""
    lab.demo()
    lab.ip("addr add 2001:db8:ff::1/64 dev demo0-peer nodad")
    lab.ip("addr add 2001:db8:ff::1/64 dev demo0")
    for _ in range(200):
        if any("dadfailed" in flags(a) for a in lab.addresses("demo0")):
            break
    pod = lab.pod()
    (attached,) = await lab.attach(pod, ("demo0", "net1"))
    assert any("2001:db8:ff::1/64" in w and "failed" in w for w in attached.warnings)
    await lab.devices.return_devices(pod)


async def test_ipv6_switched_off_in_the_pod_is_said(lab: Lab) -> None:
    """disable_ipv6 = 1 in the pod: IPv4 is carried, a warning names the IPv6 address, the host gets it back (10)."""
    before = lab.demo()
    pod = lab.pod()
    lab.inside(pod.netns, lambda: _write("default", "disable_ipv6", "1"))
    async with await lab.plan(pod, ("demo0", "net1")) as plan:
        await plan.begin()
        container = lab.container(pod, plan.entries)
        try:
            container.create()
        except RuntimeError:  # the runtime gives up on the IPv6 address: then so must we
            assert lab.kit.mover.value == "runtime"
    if lab.devices.attachments():
        (attached,) = lab.devices.attachments()
        assert any("2001:db8" in w and "disable_ipv6" in w for w in attached.warnings)
        assert {a["family"] for a in lab.addresses("net1", pod.netns)} == {"inet"}
        await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_labels_follow_the_rename(lab: Lab) -> None:
    """getifaddrs and SIOCGIFADDR know the new name; a suffix is kept if it fits, and comes back (11)."""
    lab.ip("link add demo0 type ifb")
    lab.ip("addr add 192.0.2.1/24 dev demo0 label demo0")
    lab.ip("addr add 192.0.2.2/24 dev demo0 label demo0:web")
    lab.ip("link set demo0 up")
    before = lab.picture("demo0")
    pod = lab.pod()
    for name, labels in (("net1", {"net1", "net1:web"}), ("n" * 15, {"n" * 15})):
        await lab.attach(pod, ("demo0", name))
        assert lab.inside(pod.netns, getifaddrs_names) & {"demo0", "demo0:web", *labels} == labels
        assert lab.inside(pod.netns, lambda n=name: siocgifaddr(n)) == "192.0.2.1"  # type: ignore[misc]
        if len(labels) == 2:
            assert lab.inside(pod.netns, lambda: siocgifaddr("net1:web")) == "192.0.2.2"
        await lab.devices.return_devices(pod)
        assert lab.picture("demo0") == before


async def test_every_property_of_an_address_is_carried(lab: Lab) -> None:
    """peer, noprefixroute, metric, custom broadcast: kept; none invented; the order of addresses too (12)."""
    lab.ip("link add demo0 type ifb")
    lab.ip("link set demo0 up")
    for words in (
        "192.0.2.1/24 broadcast 192.0.2.200 metric 77",
        "192.0.2.9/24",
        "192.0.2.5/24",
        "198.51.100.1 peer 198.51.100.2/32 noprefixroute",
        "203.0.113.1/28 noprefixroute",
        "2001:db8:1::1/64 noprefixroute metric 99 nodad",
        "2001:db8:2::1 peer 2001:db8:2::2/128 nodad",
        "2001:db8:3::1/64 nodad preferred_lft 0",
    ):
        lab.ip(f"addr add {words} dev demo0")
    before = lab.picture("demo0")
    pod = lab.pod()
    (attached,) = await lab.attach(pod, ("demo0", "net1"))
    kept = [{k: v for k, v in a.items() if k not in ("label", "nodad")} for a in before["addresses"]]
    shown = [
        {k: v for k, v in a.items() if k not in ("label", "nodad", "valid_life_time", "preferred_life_time")}
        for a in lab.addresses("net1", pod.netns)
    ]
    assert shown == kept
    assert attached.warnings == ()
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_the_protocol_of_an_address_is_carried(lab: Lab) -> None:
    """Who made an address (IFA_PROTO, which iproute2 shows from 6.3 on only; read by pyroute2 here) is kept (12)."""
    lab.demo()
    lab.inside(lab.host, lambda: _add("demo0", proto=19))
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    assert lab.inside(pod.netns, lambda: _protocols("net1")) == {"203.0.113.1": 19, "2001:db8:ff::1": 19}
    await lab.devices.return_devices(pod)
    assert lab.inside(lab.host, lambda: _protocols("demo0")) == {"203.0.113.1": 19, "2001:db8:ff::1": 19}


def _add(link: str, proto: int) -> None:
    with IPRoute() as ip:
        (index,) = ip.link_lookup(ifname=link)
        ip.addr("add", index=index, address="203.0.113.1", prefixlen=24, proto=proto)
        ip.addr("add", index=index, address="2001:db8:ff::1", prefixlen=64, proto=proto, flags=2)


def _protocols(link: str) -> dict[str, int]:
    with IPRoute() as ip:
        (index,) = ip.link_lookup(ifname=link)
        found = {a.get_attr("IFA_ADDRESS"): a.get_attr("IFA_PROTO") for a in ip.get_addr(index=index)}
    return {k: v for k, v in found.items() if v == 19}


async def test_addresses_that_stay_on_the_host(lab: Lab) -> None:
    """Addresses with a lifetime or a narrower scope stay out of the pod and are on the host afterwards (10)."""
    lab.demo()
    lab.ip("addr add 198.51.100.1/24 dev demo0 valid_lft 3000 preferred_lft 2000")
    lab.ip("addr add 169.254.7.7/16 dev demo0 scope link")
    lab.ip("addr add fe80::77/64 dev demo0 nodad")
    before = lab.picture("demo0")
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    assert not {a["local"] for a in lab.addresses("net1", pod.netns)} & {"198.51.100.1", "169.254.7.7"}
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before
    assert "fe80::77/64" in lab.ip("addr show dev demo0")


async def test_router_advertisements_refused_on_the_host_are_refused_in_the_pod(lab: Lab) -> None:
    """accept_ra 0 on the host is 0 in the pod, whose default is 1; the pod must not start SLAAC."""
    lab.demo()
    lab.inside(lab.host, lambda: _write("demo0", "accept_ra", "0"))
    before = lab.picture("demo0")
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    assert lab.settings("net1", pod.netns)["ipv6.accept_ra"] == "0"
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before
