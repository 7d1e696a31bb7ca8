"""Devices into a pod and kept there: acceptance cases 1 to 4, 6 to 9, 13, 14, 20 and 25, under every mover."""

import asyncio
import subprocess
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from netdev_lab import Lab, request

from crishim.errors import CrishimError, Kind
from crishim.netdev.records import Attachment, Mover, Pod, Source, State
from crishim.wire.linux import links, netns_thread

pytestmark = pytest.mark.node


async def refusal(lab: Lab, pod: Pod, *wishes: tuple[str, str]) -> CrishimError:
    with pytest.raises(CrishimError) as caught:
        await lab.attach(pod, *wishes)
    assert lab.devices.attachments() == []
    return caught.value


async def test_the_device_arrives_as_it_was_and_goes_back(lab: Lab) -> None:
    """Name, MTU, MAC, addresses and UP in the pod; the very same link on the host after the return (14)."""
    before = lab.demo()
    pod = lab.pod()
    (attached,) = await lab.attach(pod, ("demo0", "net1"))
    inside = lab.link("net1", pod.netns)
    assert inside is not None
    assert lab.link("demo0") is None
    assert (inside["mtu"], inside["address"]) == (1400, before["address"])
    assert {"UP", "LOWER_UP"} <= set(inside["flags"])
    assert [f"{a['local']}/{a['prefixlen']}" for a in lab.addresses("net1", pod.netns)] == list(attached.addresses)
    assert (attached.state, attached.name, attached.index) == (State.READY, "net1", inside["ifindex"])
    assert attached.warnings == ()
    (returned,) = await lab.devices.return_devices(pod)
    assert returned.state is State.DONE
    assert lab.picture("demo0") == before


async def test_a_container_is_created_anew_three_times(lab: Lab) -> None:
    """Device, in-pod ifindex and addresses stay the same while containers die and come (1)."""
    before = lab.demo()
    pod = lab.pod()
    (first,) = await lab.attach(pod, ("demo0", "net1"))
    addresses = lab.addresses("net1", pod.netns)
    for _ in range(3):
        lab.containers[0].kill()
        async with await lab.plan(pod, ("demo0", "net1")) as plan:
            await plan.begin()
            assert plan.entries == {}
            container = lab.container(pod, plan.entries)
            container.create()
            (again,) = await plan.verify_and_repair()
            container.start()
        assert again == first
        assert lab.addresses("net1", pod.netns) == addresses
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_what_a_container_took_from_the_device_is_put_back_for_the_next(lab: Lab) -> None:
    """Down, renamed and without an address: the next container finds it named, UP and addressed; extras stay."""
    before = lab.demo()
    pod = lab.pod()
    (first,) = await lab.attach(pod, ("demo0", "net1"))
    lab.ip("link set net1 down", pod.netns)
    lab.ip("link set net1 name other", pod.netns)
    lab.ip("addr flush dev other scope global", pod.netns)
    lab.ip("addr add 198.51.100.1/32 dev other", pod.netns)
    await lab.attach(pod, ("demo0", "net1"))
    inside = lab.link("net1", pod.netns)
    assert inside is not None
    assert "UP" in inside["flags"]
    present = {f"{a['local']}/{a['prefixlen']}" for a in lab.addresses("net1", pod.netns)}
    assert present == {*first.addresses, "198.51.100.1/32"}
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_init_main_and_sidecar_share_one_device(lab: Lab) -> None:
    """Three containers of a pod name one device through CDI: one move, all three start (2)."""
    lab.demo()
    pod = lab.pod()
    for name in ("init", "main", "sidecar"):
        asked = msgspec.structs.replace(request("demo0", "net1", Source.CDI), origin=f"vendor.com/nic={name}")
        async with await lab.devices.plan([asked, asked], pod, lab.kit.mover) as plan:
            await plan.begin()
            container = lab.container(pod, plan.entries)
            container.create()
            (attached,) = await plan.verify_and_repair()
            container.start()
    assert attached.sources == ("cdi: vendor.com/nic=init", "cdi: vendor.com/nic=main", "cdi: vendor.com/nic=sidecar")
    assert len(lab.containers) == 3
    await lab.devices.return_devices(pod)


async def test_one_device_under_two_names_is_refused(lab: Lab) -> None:
    """In one container, by name and altname, and in a later container: FAILED_PRECONDITION with both names (3)."""
    lab.demo()
    lab.ip("link property add dev demo0 altname also-demo")
    before = lab.picture("demo0")
    pod = lab.pod()
    for wishes in ((("demo0", "net1"), ("demo0", "net2")), (("demo0", "net1"), ("also-demo", "net2"))):
        error = await refusal(lab, pod, *wishes)
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


async def test_its_own_altname_becomes_its_name(lab: Lab) -> None:
    """Its altname is dropped, taken as the name in the pod, and is an altname again after the return (7)."""
    lab.demo()
    lab.ip("link property add dev demo0 altname net1")
    lab.ip("link property add dev demo0 altname other-name")
    before = lab.picture("demo0")
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    inside = lab.link("net1", pod.netns)
    assert inside is not None
    assert inside["ifname"] == "net1"
    assert "other-name" in inside["altnames"]
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_an_altname_is_a_key(lab: Lab) -> None:
    """A device named by its altname is resolved to its primary name, in config.json too; its name is kept (7)."""
    lab.demo()
    lab.ip("link property add dev demo0 altname a-very-long-alternative-name")
    before = lab.picture("demo0")
    pod = lab.pod()
    async with await lab.plan(pod, ("a-very-long-alternative-name", "")) as plan:
        assert set(plan.entries) <= {"demo0"}
    assert lab.picture("demo0") == before
    (attached,) = await lab.attach(pod, ("a-very-long-alternative-name", ""))
    assert attached.name == "demo0"
    await lab.attach(pod, ("demo0", ""))
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_a_template_takes_the_first_free_number(lab: Lab) -> None:
    """net%d with net0 present gives net1; the next container finds it; a second device gets net2 (8)."""
    before = lab.demo("demo0")
    lab.demo("demo1")
    pod = lab.pod()
    lab.ip("link add net0 type ifb", pod.netns)
    (first,) = await lab.attach(pod, ("demo0", "net%d"))
    assert first.name == "net1"
    assert await lab.attach(pod, ("demo0", "net%d")) == (first,)
    assert await lab.attach(pod, ("demo0", "net1")) == (first,)
    (second,) = await lab.attach(pod, ("demo1", "net%d"))
    assert second.name == "net2"
    assert {"net0", "net1", "net2"} <= lab.names(pod.netns)
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_the_old_name_may_be_taken_in_the_pod(lab: Lab) -> None:
    """A pod with an interface called as the device is on the host: no clash, also not with a template."""
    before = lab.demo()
    pod = lab.pod()
    lab.ip("link add demo0 type ifb", pod.netns)
    (attached,) = await lab.attach(pod, ("demo0", "net%d"))
    assert attached.name == "net0"
    assert attached.addresses
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


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
async def test_what_must_not_move_is_refused(builtin_lab: Lab, prepare: Callable[[Lab], str]) -> None:
    """lo, a bridge, its ports, a parent of others, the default route's NIC: refused and untouched (13)."""
    lab = builtin_lab
    lab.demo()
    name = prepare(lab)
    before = lab.picture(name)
    pod = lab.pod()
    error = await refusal(lab, pod, (name, "net1"))
    assert error.kind is Kind.PRECONDITION
    assert name in str(error)
    assert lab.picture(name) == before


async def test_a_parent_stays_while_a_pod_has_its_macvlan(builtin_lab: Lab) -> None:
    """The host no longer shows who depends on the device; the journal knows (13)."""
    lab = builtin_lab
    before = lab.demo()
    lab.ip("link add mv0 link demo0 type macvlan")
    pod = lab.pod()
    await lab.attach(pod, ("mv0", "net1"), run=False)
    with pytest.raises(CrishimError, match=r"demo0.*mv0"):
        await lab.attach(pod, ("demo0", "net2"), run=False)
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_the_node_device_can_be_allowed(builtin_lab: Lab) -> None:
    """The node's address keeps its device on the host, unless the configuration allows it (13)."""
    lab = builtin_lab
    before = lab.demo()
    pod = lab.pod()
    address = before["addresses"][0]["local"]
    with pytest.raises(CrishimError, match="demo0"):
        await lab.driver(node_addresses=[address]).plan([request("demo0", "net1")], pod, lab.kit.mover)
    allowing = lab.driver(node_addresses=[address], allow_node_device=True)
    async with await allowing.plan([request("demo0", "net1")], pod, lab.kit.mover) as plan:
        await plan.begin()
    assert lab.picture("demo0") == before


async def test_a_pod_on_the_host_network_gets_none(builtin_lab: Lab) -> None:
    """No namespace, or the host's own: refused, the link keeps its name (13)."""
    lab = builtin_lab
    before = lab.demo()
    for netns in ("", str(lab.host)):
        pod = Pod(id="p" * 16, netns=netns, title="default/host")
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
    async with await lab.devices.plan([], Pod(id="x", netns=""), lab.kit.mover) as plan:
        await plan.begin()
        assert await plan.verify_and_repair() == ()


async def test_two_pods_race_for_one_device(lab: Lab) -> None:
    """One wins; the loser gets ABORTED that names the holder; after the return it can have it (20)."""
    before = lab.demo()
    pods = [lab.pod("pod-a"), lab.pod("pod-b")]

    async def attempt(pod: Pod) -> tuple[Attachment, ...] | CrishimError:
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


async def test_a_running_pod_gets_and_gives_a_device(builtin_lab: Lab) -> None:
    """attach and detach by the built-in mover; detach takes the host name, an altname or the in-pod name."""
    lab = builtin_lab
    lab.demo()
    lab.ip("link property add dev demo0 altname also")
    before = lab.picture("demo0")
    pod = lab.pod()
    for key in ("demo0", "also", "net1"):
        attached = await lab.devices.attach(pod, request("demo0", "net1", Source.COMMAND))
        assert attached.state is State.READY
        assert lab.devices.attachments(pod.id) == [attached]
        assert (await lab.devices.detach(pod, key)).state is State.DONE
        assert lab.picture("demo0") == before
    with pytest.raises(CrishimError, match="net1") as caught:
        await lab.devices.detach(pod, "net1")
    assert caught.value.kind is Kind.NOT_FOUND


async def test_no_descriptor_of_ours_reaches_a_child(builtin_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child started during a move, with every descriptor that is not close-on-exec, has none of ours (25)."""
    lab = builtin_lab
    lab.demo()
    pod = lab.pod()
    seen: list[str] = []
    move = links.move

    def move_and_look(*args: Any, **options: Any) -> None:
        move(*args, **options)
        argv = ["/bin/ls", "-l", "/proc/self/fd"]
        seen.append(subprocess.run(argv, close_fds=False, capture_output=True, text=True, check=True).stdout)

    monkeypatch.setattr(links, "move", move_and_look)
    await lab.attach(pod, ("demo0", "net1"), run=False)
    await lab.devices.return_devices(pod)
    assert len(seen) == 2
    for listing in seen:
        assert str(lab.directory) not in listing
        assert "net:[" not in listing
        assert "socket:[" not in listing


@pytest.mark.parametrize("how", ["ifb", "tap", "macvlan"])
async def test_other_kinds_of_device(lab: Lab, how: str) -> None:
    """ifb, tap and macvlan devices come and go as veth does (15)."""
    lab.demo("demo0")
    words = {
        "ifb": "link add x0 type ifb",
        "tap": "tuntap add x0 mode tap",
        "macvlan": "link add x0 link demo0 type macvlan",
    }
    lab.ip(words[how])
    lab.ip("link set x0 up")
    lab.ip("addr add 198.51.100.9/24 dev x0")
    before = lab.picture("x0")
    pod = lab.pod()
    (attached,) = await lab.attach(pod, ("x0", "net1"))
    assert attached.addresses == ("198.51.100.9/24",)
    await lab.devices.return_devices(pod)
    assert lab.picture("x0") == before


SLOPPY = {
    "down and bare": ["link set net1 down", "addr flush dev net1"],
    "crun: the old label": ["addr flush dev net1", "addr add 192.0.{n}.7/24 dev net1 label demo0", "link set net1 up"],
    "an invented broadcast": ["addr flush dev net1", "addr add 192.0.{n}.7/24 broadcast + dev net1"],
    "tentative": ["addr flush dev net1", "link set net1 up", "addr add 2001:db8:{n}::7/64 dev net1"],
    "too much": ["addr add 203.0.113.9/24 dev net1", "addr add 2001:db8:dead::1/64 dev net1"],
    "another MTU and MAC": ["link set net1 mtu 1300", "link set net1 address 02:00:00:00:00:07"],
    "the wrong name": ["link set net1 down", "link set net1 name demo0"],
}


@pytest.mark.parametrize("how", SLOPPY)
async def test_whatever_a_runtime_made_of_it_is_repaired(builtin_lab: Lab, how: str) -> None:
    """What OCI runtimes are known to do, and more: the pod sees the same device in the end (10 to 12, 14)."""
    lab = builtin_lab
    before = lab.demo()
    perfect, pod = lab.pod("pod-a"), lab.pod("pod-b")
    await lab.attach(perfect, ("demo0", "net1"), run=False)
    wanted = [lab.addresses("net1", perfect.netns), lab.link("net1", perfect.netns)]
    await lab.devices.return_devices(perfect)
    async with await lab.devices.plan([request("demo0", "net1")], pod, Mover.RUNTIME) as plan:
        await plan.begin()
        assert plan.entries == {"demo0": {"name": "net1"}}
        netns_thread.across((lab.host, pod.netns), move_as_a_runtime)
        for words in SLOPPY[how]:
            lab.ip(words.format(n=sum(b"demo0") % 200), pod.netns)
        (attached,) = await plan.verify_and_repair()
    assert attached.warnings == ()
    found = [lab.addresses("net1", pod.netns), lab.link("net1", pod.netns)]
    ignored = ("ifindex", "altnames", "link_netnsid", "operstate", "inet6_addr_gen_mode", "carrier_up_count", "flags")

    def comparable(picture: list[Any]) -> list[Any]:
        addresses, link = picture
        return [addresses, {k: v for k, v in link.items() if k not in ignored}, "UP" in link["flags"]]

    assert comparable(found) == comparable(wanted)
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


def move_as_a_runtime(host: netns_thread.End, pod: netns_thread.End) -> None:
    link = links.get(host.netlink, "demo0")
    assert link is not None
    links.move(host.netlink, link.index, pod.fd, "net1", up=True)
