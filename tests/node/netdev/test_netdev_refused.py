"""What is refused, and leaves everything as it was: acceptance cases 3, 4, 6, 9, 13 and 20, under every mover."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from crishim.errors import CrishimError, Kind
from crishim.netdev.records import Attachment, PodRef, Source
from tests.node.netdev.lab import ANYTHING, Lab, request

pytestmark = pytest.mark.node


async def refusal(lab: Lab, pod: PodRef, *merged_requests: tuple[str, str]) -> CrishimError:
    with pytest.raises(CrishimError) as caught:
        await lab.attach(pod, *merged_requests)
    assert lab.devices.attachments() == []
    return caught.value


async def test_one_device_under_two_names_is_refused(lab: Lab) -> None:
    """In one container, by name and altname, and in a later container: FAILED_PRECONDITION with both names (3)."""
    lab.demo()
    lab.ip("link property add dev demo0 altname also-demo")
    before = lab.picture("demo0")
    pod = lab.pod()
    for merged_requests in ((("demo0", "net1"), ("demo0", "net2")), (("demo0", "net1"), ("also-demo", "net2"))):
        error = await refusal(lab, pod, *merged_requests)
        assert error.kind is Kind.PRECONDITION
        assert "net1" in str(error)
        assert "net2" in str(error)
        assert lab.picture("demo0") == before
    await lab.attach(pod, ("demo0", "net1"))
    with pytest.raises(CrishimError, match=r"net1.*net2") as caught:
        await lab.attach(pod, ("demo0", "net2"))
    assert caught.value.kind is Kind.PRECONDITION
    assert lab.link("net1", pod.netns)
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_two_devices_under_one_name_are_refused(lab: Lab) -> None:
    """FAILED_PRECONDITION that names both; both are on the host, UP, as they were (4)."""
    before = [lab.demo("demo0"), lab.demo("demo1")]
    pod = lab.pod()
    error = await refusal(lab, pod, ("demo0", "net1"), ("demo1", "net1"))
    assert error.kind is Kind.PRECONDITION
    assert "demo0" in str(error)
    assert "demo1" in str(error)
    assert [lab.picture("demo0"), lab.picture("demo1")] == before


@pytest.mark.parametrize("name", ["eth0", "net1", "spare"])
async def test_a_name_taken_in_the_pod_is_refused(lab: Lab, name: str) -> None:
    """A clash with eth0, an interface or an altname of the pod strands nothing (6)."""
    before = lab.demo()
    pod = lab.pod()
    lab.ip("link add net1 type ifb", pod.netns)
    lab.ip("link property add dev net1 altname spare", pod.netns)
    there = lab.names(pod.netns)
    error = await refusal(lab, pod, ("demo0", name))
    assert error.kind is Kind.PRECONDITION
    assert name in str(error)
    assert lab.picture("demo0") == before
    assert lab.names(pod.netns) == there


async def test_a_name_held_by_another_device_of_ours_is_refused(lab: Lab) -> None:
    """The text names the device that has the name (6)."""
    lab.demo("demo0")
    before = lab.demo("demo1")
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    with pytest.raises(CrishimError, match=r"demo1.*net1.*demo0"):
        await lab.attach(pod, ("demo1", "net1"))
    assert lab.picture("demo1") == before
    await lab.devices.return_devices(pod)


async def test_fifteen_bytes_fit_and_sixteen_do_not(lab: Lab) -> None:
    """A name of 15 bytes works; 16 are refused before the link is touched, also when a template grows (9)."""
    before = lab.demo()
    pod = lab.pod()
    error = await refusal(lab, pod, ("demo0", "n" * 16))
    assert error.kind is Kind.INVALID
    assert lab.picture("demo0") == before
    (attached,) = await lab.attach(pod, ("demo0", "n" * 15))
    assert attached.name == "n" * 15
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


def _bridge(lab: Lab) -> str:
    lab.ip("link add br0 type bridge")
    return "br0"


def _in_bridge(lab: Lab) -> str:
    lab.ip("link add br0 type bridge")
    lab.ip("link set demo0 master br0")
    return "demo0"


def _with_macvlan(lab: Lab) -> str:
    lab.ip("link add mv0 link demo0 type macvlan")
    return "demo0"


def _default_route(lab: Lab) -> str:
    number = sum(b"demo0") % 200
    lab.ip(f"route add default via 192.0.{number}.1 dev demo0")
    return "demo0"


def _default_route_ipv6(lab: Lab) -> str:
    number = sum(b"demo0") % 200
    lab.ip(f"-6 route add default via 2001:db8:{number}::1 dev demo0")
    return "demo0"


@pytest.mark.parametrize(
    "prepare", [lambda _: "lo", _bridge, _in_bridge, _with_macvlan, _default_route, _default_route_ipv6]
)
async def test_what_must_not_move_is_refused(lab: Lab, prepare: Callable[[Lab], str]) -> None:
    """lo, a bridge, its ports, a parent of others, the default route's NIC: refused and untouched (13)."""
    lab.demo()
    name = prepare(lab)
    before = lab.picture(name)
    pod = lab.pod()
    error = await refusal(lab, pod, (name, "net1"))
    assert error.kind is Kind.PRECONDITION
    assert name in str(error)
    assert lab.picture(name) == before


async def test_a_parent_stays_while_a_pod_has_its_macvlan(lab: Lab) -> None:
    """The host no longer shows who depends on the device; the journal knows (13)."""
    before = lab.demo()
    lab.ip("link add mv0 link demo0 type macvlan")
    pod = lab.pod()
    await lab.attach(pod, ("mv0", "net1"))
    with pytest.raises(CrishimError, match=r"demo0.*mv0"):
        await lab.attach(pod, ("demo0", "net2"))
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_the_node_device_can_be_allowed_but_not_by_annotation(lab: Lab) -> None:
    """The node's address keeps its device on the host, unless the configuration lets root's sources have it (13)."""
    before = lab.demo()
    pod = lab.pod()
    address = frozenset({socket.inet_aton(before["addresses"][0]["local"])})
    allowing = lab.driver(ANYTHING._replace(node_addresses=address, allow_node_device=True))
    for driver, source in (
        (lab.driver(ANYTHING._replace(node_addresses=address)), Source.CDI),
        (allowing, Source.ANNOTATION),
    ):
        with pytest.raises(CrishimError, match="demo0") as caught:
            await driver.plan([request("demo0", "net1", source)], pod, lab.kit.mover)
        assert caught.value.kind is Kind.PRECONDITION
        assert lab.picture("demo0") == before
    async with await allowing.plan([request("demo0", "net1", Source.CDI)], pod, lab.kit.mover) as plan:
        await plan.begin()
    assert lab.picture("demo0") == before


async def test_a_pod_on_the_host_network_gets_none(lab: Lab) -> None:
    """No namespace, or the host's own: refused, the link keeps its name (13)."""
    before = lab.demo()
    for netns in ("", str(lab.host)):
        pod = PodRef(id="p" * 16, netns=netns, title="default/host")
        error = await refusal(lab, pod, ("demo0", "net1"))
        assert error.kind is Kind.PRECONDITION
        assert "host's network" in str(error)
    assert lab.picture("demo0") == before


async def test_a_device_that_is_not_there(lab: Lab) -> None:
    """NOT_FOUND that names it; an empty list of requests touches nothing and needs no namespace."""
    pod = lab.pod()
    error = await refusal(lab, pod, ("none0", "net1"))
    assert error.kind is Kind.NOT_FOUND
    assert "none0" in str(error)
    async with await lab.devices.plan([], PodRef(id="x", netns=""), lab.kit.mover) as plan:
        await plan.begin()
        assert await plan.verify_and_repair() == ()


async def test_two_pods_race_for_one_device(lab: Lab) -> None:
    """One wins; the loser gets ABORTED that names the holder; after the return it can have it (20)."""
    before = lab.demo()
    pods = [lab.pod("pod-a"), lab.pod("pod-b")]

    async def attempt(pod: PodRef) -> tuple[Attachment, ...] | CrishimError:
        try:
            return await lab.attach(pod, ("demo0", "net1"))
        except CrishimError as error:
            return error

    results = await asyncio.gather(*map(attempt, pods))
    winner = next(i for i, r in enumerate(results) if isinstance(r, tuple))
    lost: Any = results[1 - winner]
    assert isinstance(lost, CrishimError)
    assert lost.kind is Kind.ABORTED
    assert pods[winner].title in str(lost)
    assert lost.facts["holder"] == pods[winner].id
    await lab.devices.return_devices(pods[winner])
    await lab.attach(pods[1 - winner], ("demo0", "net1"))
    await lab.devices.return_devices(pods[1 - winner])
    assert lab.picture("demo0") == before
